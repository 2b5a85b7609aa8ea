/* SPDX-License-Identifier: Apache-2.0
 *
 * The bugs that a planted build can have: name, where it is looked for, what it breaks.
 * `sim` and `hours` are runs of holdfast-sim (hours: with wall clocks hours off),
 * `consensus` of holdfast-consensus-sim, where members come and go, `ranges` of
 * holdfast-ranges-sim, where ranges are split and merged (`grow`: with --grow, where stores
 * join and placement moves replicas; `retain`: with --retain, where retention changes),
 * `placement` of holdfast-placement-sim. In order of the rooms that break; docs/PLANTED.md
 * tells of each where the real world had it.
 */
#ifndef BASE_PLANT_LIST_H_
#define BASE_PLANT_LIST_H_

#define PLANT_LIST(X)                                                                              \
    X(ack_before_sync, "sim", "a write of the log is taken for durable without a sync")            \
    X(sync_tried_again, "sim",                                                                     \
      "a failed sync of the log is tried again, and the second success believed")                  \
    X(segment_name_not_synced, "sim", "a new log segment's name is not synced with its folder")    \
    X(recycled_tail_read, "sim",                                                                   \
      "the segment's number is not in the checksum: old records of a recycled file count")         \
    X(torn_tail_taken, "sim",                                                                      \
      "the log does not check the checksums of entries: a torn write counts")                      \
    X(cut_at_bad_checksum, "sim",                                                                  \
      "the log is cut at the first bad record, though a later one proves that it was synced")      \
    X(read_error_is_end, "sim", "a read error at recovery is taken for an empty segment")          \
    X(hint_is_commit, "sim", "the commit hint runs ahead of the entries in the log")               \
    X(rename_not_synced, "sim", "CURRENT is renamed without a sync of its folder")                 \
    X(manifest_not_synced, "sim", "manifest records are not synced")                               \
    X(table_name_not_synced, "sim",                                                                \
      "a new table's name is not synced before the manifest names it")                             \
    X(table_not_synced, "sim", "a new table's bytes are not synced before the manifest names it")  \
    X(file_gone_early, "sim", "a compaction's inputs are removed before the manifest says so")     \
    X(index_before_data, "sim", "the applied index is saved before the data that belongs to it")   \
    X(data_before_index, "sim", "data is saved before the applied index that belongs to it")       \
    X(flushed_index_late, "sim", "the flushed index is read when a flush ends, not when it began") \
    X(checksum_ignored, "sim", "blocks of tables are served whatever their checksum")              \
    X(cache_mixes_files, "sim", "the block cache tells files apart by a few bits of their number") \
    X(old_version_dropped, "sim", "compaction drops versions that a reader may still ask for")     \
    X(tombstone_dropped_early, "sim",                                                              \
      "compaction drops a delete while an older version lies deeper")                              \
    X(border_version_lost, "engine",                                                               \
      "a share of a split compaction begins behind the newest version of its border")              \
    X(value_file_gone_early, "engine",                                                             \
      "a value file goes though a table that was flushed refers to it still")                      \
    X(value_ref_as_value, "engine",                                                                \
      "a reference whose file is to be emptied is taken for a value")                              \
    X(edit_overtakes_writes, "sim", "an installed snapshot overtakes the writes in memory")        \
    X(old_span_kept, "sim", "a snapshot is installed without dropping the old data")               \
    X(snapshot_of_later, "sim", "a snapshot's data is of a later moment than its index")           \
    X(expiry_by_own_clock, "sim", "each replica judges expiry by its own clock")                   \
    X(time_goes_back, "sim", "range time follows the leader's clock backwards")                    \
    X(condition_before_entry, "sim",                                                               \
      "conditions are judged by the state before the entry, not before the command")               \
    X(batch_in_part, "sim", "a batch whose condition fails leaves its first operations behind")    \
    X(session_not_looked_up, "sim", "a repeat of a write is applied again")                        \
    X(cached_state_kept, "sim", "what apply read ahead is used for later entries too")             \
    X(read_goes_on_newer, "sim",                                                                   \
      "a read that had to wait for the disk goes on at a newer version")                           \
    X(page_skips_key, "sim", "a page's cursor is one key too far")                                 \
    X(watch_feed_has_all, "sim", "a feed of changes is taken for whole from the first version on") \
    X(watch_mark_too_high, "sim",                                                                  \
      "a page of changes that was cut says that it is complete up to now")                         \
    X(watch_told_twice, "sim", "a watcher asks again for the last version that it was told")       \
    X(watch_latest_only, "sim", "of the changes of a key that were missed only the last is told")  \
    X(history_comes_back, "retain", "a range told to keep more takes the safe point back")         \
    X(watch_below_safe_point, "sim", "changes are told from where old versions were dropped")      \
    X(applied_uncommitted, "sim",                                                                  \
      "entries are applied when they are stored, not when they commit")                            \
    X(vote_not_persisted, "sim", "the vote is not saved")                                          \
    X(term_not_awaited, "consensus",                                                               \
      "messages leave before the term and vote that they tell are durable")                        \
    X(durable_index_stale, "consensus",                                                            \
      "a truncation does not lower the durable index: late completions count")                     \
    X(commit_old_term, "consensus", "entries of old terms are committed by counting")              \
    X(commit_by_half, "sim", "half of the voters is enough to commit")                             \
    X(vote_for_shorter_log, "sim", "votes are given to candidates whose log is behind")            \
    X(append_without_match, "sim", "entries are appended without a look at the one before")        \
    X(read_unconfirmed, "consensus", "reads are served without asking whether we still lead")      \
    X(read_asks_the_live, "consensus",                                                             \
      "a majority of the members that are alive is enough to confirm a read")                      \
    X(read_old_answer, "consensus", "answers to older probes confirm a newer one")                 \
    X(follower_read_early, "consensus",                                                            \
      "a follower answers a read before it has applied the confirmed index")                       \
    X(stale_age_of_answer, "sim", "the age of a stale read counts from the leader's answer")       \
    X(lease_over_transfer, "consensus", "a lease is used on after a hand-over was begun")          \
    X(lease_too_long, "consensus", "a lease lasts longer than what was promised")                  \
    X(read_before_own_term, "sim",                                                                 \
      "reads are served before an entry of the own term has committed")                            \
    X(refused_but_proposed, "sim", "writes under way at a loss of leadership are called refused")  \
    X(retry_undetermined, "sim",                                                                   \
      "the client repeats writes whose outcome is not known as new ones")                          \
    X(gives_up_lost, "sim",                                                                        \
      "a change is given up when its connection is lost, though its session lets it go on")        \
    X(older_store_pulsed, "sim", "a store of an older build is told what it does not know")        \
    X(wiped_store_welcome, "sim", "a store with an empty folder is let in under its old id")       \
    X(clock_not_watched, "hours", "a store whose clock is hours off leads")                        \
    X(doubts_nobody, "ranges", "what members said before their leader slept counts as said now")   \
    X(commit_counts_learners, "consensus", "learners count when a commit is counted")              \
    X(votes_at_start, "consensus", "who starts again votes at once, whatever it promised before")  \
    X(two_operators, "placement", "a second operator is begun for a range that has one")           \
    X(id_reused, "placement", "ids are given out though it is not durable that they are")          \
    X(learner_promoted_early, "placement", "a learner is promoted before it has caught up")        \
    X(removed_before_caught_up, "placement",                                                       \
      "a voter is removed before what replaces it has caught up")                                  \
    X(healthy_removed, "placement", "a healthy voter is removed while others are missing")         \
    X(broken_goes_on, "placement", "a driver whose write failed goes on")                          \
    X(no_hysteresis, "placement", "replicas and leaders are moved for any gain")                   \
    X(node_shared, "placement", "a replica is put on a node that has one of the range")            \
    X(merged_at_once, "placement", "what was just split is merged again")                          \
    X(epoch_not_checked, "ranges", "a merge commits though its left range was changed meanwhile")  \
    X(stale_replica_kept, "ranges",                                                                \
      "a snapshot is installed beside the replicas whose span it covers")                          \
    X(commit_not_awaited, "ranges",                                                                \
      "a merge is committed before all members hold the right's last entry")                       \
    X(child_from_log, "ranges",                                                                    \
      "one that missed a split is sent the right half's log, and nothing of before")               \
    X(vote_forgotten, "ranges", "the right half of a split forgets what it had promised before")   \
    X(span_not_checked, "ranges", "a write is applied though its key is another range's by now")   \
    X(split_forgets_sessions, "ranges",                                                            \
      "the right half of a split does not know which changes were done before")                    \
    X(merge_forgets_sessions, "ranges",                                                            \
      "a merge drops what the right range knows of changes that were done")                        \
    X(merge_forgets_seams, "ranges",                                                               \
      "a merge reads the right range's keys at versions of before it")                             \
    X(lease_over_merge, "ranges", "the right range of a merge goes on reading by its lease")       \
    X(check_counts_on, "ranges", "a range check that is over counts as something on its way")      \
    X(version_before_keys, "ranges",                                                               \
      "the version of a read is judged before the range's hold on its keys")                       \
    X(silence_not_heeded, "ranges", "nobody wakes when the store that leads sleepers is silent")   \
    X(tombstone_forgotten, "ranges", "a late message brings a replica back that was removed")      \
    X(uuid_not_unique, "grow", "two stores have one uuid")                                         \
    X(lower_placement_term, "grow", "stores obey placement of a lower term than they heard of")    \
    X(ids_given_twice, "grow", "a new driver gives out ids again that an earlier one gave")        \
    X(appended_told, "grow", "placement is told of changes of members that may be taken back")     \
    X(two_steps_at_once, "grow", "a store begins a step of a range while another one runs")        \
    X(nothing_beyond, "full-log", "a log that is full takes nothing beyond its limit")             \
    X(sleeper_not_checked, "ranges", "nobody looks whether one that sleeps is a member still")

#endif
