/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/run.h"

static const struct {
    const char *name;
    uint32_t bits;
} names[] = {
    {"all", FAULT_ALL},     {"none", 0},
    {"kill", FAULT_KILL},   {"power", FAULT_POWER},
    {"pause", FAULT_PAUSE}, {"partition", FAULT_PARTITION},
    {"net", FAULT_NET},     {"disk", FAULT_DISK},
    {"clock", FAULT_CLOCK}, {"space", FAULT_SPACE},
    {"hours", FAULT_HOURS}, {"admin", FAULT_ADMIN},
    {"rot", FAULT_ROT},
};

static bool parse_one(const char *text, size_t len, uint32_t *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strlen(names[i].name) == len && memcmp(names[i].name, text, len) == 0) {
            *ret |= names[i].bits;
            return true;
        }
    }
    char *end = NULL;
    unsigned long bits = strtoul(text, &end, 10);
    if (len == 0 || end != text + len || bits > (FAULT_ALL | FAULT_HOURS))
        return false;
    *ret |= (uint32_t)bits;
    return true;
}

bool faults_parse(const char *text, uint32_t *ret)
{
    uint32_t bits = 0;
    do {
        size_t len = strcspn(text, ",");
        if (!parse_one(text, len, &bits))
            return false;
        text += len;
    } while (*text++ == ',');
    *ret = bits;
    return true;
}

void faults_print(uint32_t faults, char *out, size_t size)
{
    size_t at = 0;
    if (faults == FAULT_ALL || faults == 0) {
        snprintf(out, size, "%s", faults == 0 ? "none" : "all");
        return;
    }
    for (size_t i = 2; i < ARRAY_LEN(names); i++)
        if ((faults & names[i].bits) && at < size)
            at += (size_t)snprintf(out + at, size - at, "%s%s", at == 0 ? "" : ",", names[i].name);
}
