/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_samples_client — samples of what clients ask and are answered, for wire_samples.c.
 */
#ifndef TESTS_SUPPORT_WIRE_SAMPLES_CLIENT_H_
#define TESTS_SUPPORT_WIRE_SAMPLES_CLIENT_H_

#include "base/buf.h"
#include "base/err.h"

void request_write_sample(struct buf *buf);
void request_get_sample(struct buf *buf);
void request_multi_get_sample(struct buf *buf);
void request_scan_sample(struct buf *buf);
void request_watch_sample(struct buf *buf);
void request_bootstrap_sample(struct buf *buf);
void request_change_member_sample(struct buf *buf);
void request_transfer_sample(struct buf *buf);
void request_split_sample(struct buf *buf);
void request_merge_sample(struct buf *buf);
void request_retain_sample(struct buf *buf);
void request_status_sample(struct buf *buf);
void request_check_sample(struct buf *buf);
void request_join_sample(struct buf *buf);
void request_placement_sample(struct buf *buf);
int request_try(struct slice body, struct err *err);
void response_write_sample(struct buf *buf);
void response_scan_sample(struct buf *buf);
void response_watch_sample(struct buf *buf);
void response_status_sample(struct buf *buf);
void response_identify_sample(struct buf *buf);
void response_check_sample(struct buf *buf);
int response_try(struct slice body, struct err *err);
void request_again(struct slice body, struct buf *buf);
void response_again(struct slice body, struct buf *buf);

#endif
