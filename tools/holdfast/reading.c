/* SPDX-License-Identifier: Apache-2.0 */
#include "reading.h"

enum { MAX_AGE_DEFAULT_US = 1000000 };

static const char *const modes[] = {
    [HF_LINEARIZABLE] = "linearizable",
    [HF_LEASE] = "lease",
    [HF_STALE] = "stale",
    [HF_AT] = "at",
};

void reading_flags(struct reading *r, struct args_flag *ret_flags)
{
    const struct args_flag flags[] = {
        {"read", 0, ARGS_TEXT, &r->mode, NULL, "MODE",
         "linearizable (default), lease, stale or at"},
        {"max-age", 0, ARGS_DURATION, &r->max_age_us, &r->is_age_given, "TIME",
         "stale: what was written longer ago is seen (1s)"},
        {"at-version", 0, ARGS_U64, &r->at_version, &r->is_version_given, "V",
         "as it was at this version"},
        {"any-replica", 0, ARGS_SWITCH, &r->any_replica, NULL, NULL,
         "let replicas answer that do not lead, once they are up to date"},
    };
    _Static_assert(ARRAY_LEN(flags) == READING_FLAGS, "room for all");
    memcpy(ret_flags, flags, sizeof flags);
}

bool reading_call(struct cli *cli, const struct reading *r, struct hf_call *ret_call, int *ret_exit)
{
    size_t mode = r->is_version_given ? HF_AT : HF_LINEARIZABLE;
    if (r->mode != NULL) {
        mode = 0;
        while (mode < ARRAY_LEN(modes) && strcmp(r->mode, modes[mode]) != 0)
            mode++;
    }
    *ret_call = cli_call(cli);
    if (mode == ARRAY_LEN(modes))
        *ret_exit = cli_usage(cli, "--read is linearizable, lease, stale or at");
    else if ((mode == HF_AT) != (r->is_version_given && r->at_version > 0))
        *ret_exit = cli_usage(cli, "--read at and --at-version (1 or more) belong together");
    else if (r->is_age_given && mode != HF_STALE)
        *ret_exit = cli_usage(cli, "--max-age is for --read stale");
    else if (r->is_age_given && r->max_age_us < 1000)
        *ret_exit = cli_usage(cli, "--max-age is 1ms or more");
    else {
        ret_call->consistency = (int)mode;
        ret_call->at_version = r->at_version;
        ret_call->any_replica = r->any_replica;
        if (mode == HF_STALE)
            ret_call->max_age_ms = (r->is_age_given ? r->max_age_us : MAX_AGE_DEFAULT_US) / 1000;
        return true;
    }
    return false;
}
