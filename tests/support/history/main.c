/* SPDX-License-Identifier: Apache-2.0
 *
 * history-check MODEL [FILE] — judge a recorded history (support/history/history.h).
 * Exit status: 0 valid, 1 invalid, 2 unknown or not to be understood.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support/history/history.h"

static const struct {
    const char *name;
    void (*judge)(const struct history *h, struct history_report *report);
    const char *what;
} models[] = {
    {"register", history_judge_register, "linearizable, key by key"},
    {"plain-register", history_judge_plain_register, "the same, versions left aside"},
    {"set", history_judge_set, "no element lost, none from nowhere"},
    {"strict-set", history_judge_strict_set, "the same, and no stale read"},
    {"counter", history_judge_counter, "reads within the bounds of the additions"},
    {"append", history_judge_append, "transactions over lists: strictly serializable"},
    {"bank", history_judge_bank, "the sum of all accounts never changes"},
    {"session", history_judge_session, "what is sent twice happens once"},
    {"ttl", history_judge_ttl, "registers whose values expire in time and for good"},
    {"scan", history_judge_scan, "scans see groups whole, all at one moment"},
    {"watch", history_judge_watch, "no gap, no repeat, in order"},
};

static int usage(FILE *to, int exit_code)
{
    fprintf(to, "usage: history-check MODEL [FILE]\n\nFILE has one JSON object a line; without it, "
                "standard input.\n\nmodels:\n");
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        fprintf(to, "  %-10s %s\n", models[i].name, models[i].what);
    fprintf(to, "\nexit: 0 valid, 1 invalid, 2 unknown or bad input\n");
    return exit_code;
}

int main(int argc, char **argv)
{
    static const char *const words[] = {"valid", "INVALID", "unknown"};
    static const int exits[] = {0, 1, 2};
    struct history h;
    struct history_report report;
    struct err err = {0};
    size_t m = 0;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return usage(stdout, 0);
    while (argc >= 2 && m < ARRAY_LEN(models) && strcmp(models[m].name, argv[1]) != 0)
        m++;
    if (argc < 2 || argc > 3 || m == ARRAY_LEN(models))
        return usage(stderr, 2);
    FILE *file = argc == 3 ? fopen(argv[2], "r") : stdin;
    if (file == NULL) {
        perror(argv[2]);
        return 2;
    }
    history_init(&h);
    history_report_init(&report);
    int rv = history_load(&h, file, &err);
    if (rv != 0) {
        fprintf(stderr, "history-check: %s\n", err.msg);
        report.verdict = HISTORY_UNKNOWN;
    } else {
        models[m].judge(&h, &report);
        printf("%.*s", (int)report.text.len, (const char *)report.text.data);
        printf("operations %zu, model %s: %s\n", h.count, models[m].name, words[report.verdict]);
    }
    int exit_code = exits[report.verdict];
    history_report_fini(&report);
    history_fini(&h);
    if (file != stdin)
        fclose(file);
    return exit_code;
}
