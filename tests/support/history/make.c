/* SPDX-License-Identifier: Apache-2.0
 *
 * history-make MODEL [--ops N] [--processes N] [--seed S] [--plant ANOMALY] — write a
 * history of clients of a perfect store, or of one with a single anomaly in the middle:
 *
 *   history-make append --ops 1000000 --plant G2 | history-check append
 *
 * Every operation takes effect at one drawn instant between its beginning and its end; one
 * in a hundred fails, one in a hundred is of unknown outcome, and does or does not happen.
 * Same arguments, same history.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/rng.h"
#include "base/text.h"

enum {
    PROCESSES_MAX = 500,
    ACTIVE = 8,
    LIST_MAX = 20,
    SET_MAX = 100,
    ACCOUNTS = 6,
    TEXT_MAX = 4096
};

enum model { REGISTER, SET, COUNTER, APPEND, BANK, MODEL_NR };
static const char *const model_names[] = {"register", "set", "counter", "append", "bank"};

/* One thing that operations are about. */
struct object {
    uint64_t number; /* of its key */
    unsigned uses;
    int64_t value; /* register (0: absent), counter */
    int64_t list[SET_MAX];
    unsigned len;
};

enum step { BEGIN, EFFECT, END };

struct process {
    int64_t number;
    uint64_t next_ns;
    enum step step;
    const char *type; /* that it will end with */
    bool happens;
    /* what it does */
    char f[16], key[16], asked[TEXT_MAX], seen[TEXT_MAX];
    uint64_t object; /* number of its key, or … */
    unsigned objects[2], object_count;
    bool is_read;
    int64_t arg[3];
};

struct maker {
    enum model model;
    struct rng rng;
    uint64_t ops, made, elements, keys;
    struct object objects[ACTIVE];
    int64_t accounts[ACCOUNTS];
    struct process processes[PROCESSES_MAX];
    uint64_t process_count;
    const char *plant;
    bool is_planted;
    uint64_t now_ns;
};

static struct maker m;

static void emit(int64_t process, const char *type, const char *f, const char *key,
                 const char *value, uint64_t time)
{
    printf("{\"process\":%" PRId64 ",\"type\":\"%s\",\"f\":\"%s\",", process, type, f);
    if (key[0] != '\0')
        printf("\"key\":\"%s\",", key);
    printf("\"value\":%s,\"time\":%" PRIu64 "}\n", value, time);
}

/* ---- what is planted ---------------------------------------------------------------------
 *
 * Small histories of their own, on keys of their own: a line for each operation, "begin end
 * type f key invocation completion", times from where they are put in.
 */

struct plant {
    enum model model;
    const char *name;
    const char *lines[6];
};

#define TXN " txn - "

static const struct plant plants[] = {
    {REGISTER, "stale", {"0 1 ok write p 1 1", "2 3 ok write p 2 2", "4 5 ok read p null 1"}},
    {REGISTER, "lost", {"0 1 ok write p 1 1", "2 3 ok read p null null"}},
    {REGISTER, "aborted", {"0 1 fail write p 1 1", "2 3 ok read p null 1"}},
    {SET, "lost", {"0 1 ok add p 1 1", "0 1 ok add p 2 2", "2 3 ok read p null [2]"}},
    {SET, "twice", {"0 1 ok add p 1 1", "2 3 ok read p null [1,1]"}},
    {COUNTER, "lost", {"0 1 ok increment p 1 1", "2 3 ok read p null 0"}},
    {BANK,
     "torn",
     {"0 1 ok read - null [[\"a0\",99],[\"a1\",100],[\"a2\",100],[\"a3\",100],"
      "[\"a4\",100],[\"a5\",100]]"}},
    {APPEND,
     "G0",
     {"0 9 ok" TXN "[[\"append\",\"p\",1],[\"append\",\"q\",1]] =",
      "0 9 ok" TXN "[[\"append\",\"p\",2],[\"append\",\"q\",2]] =",
      "10 11 ok" TXN "[[\"r\",\"p\",null],[\"r\",\"q\",null]] "
      "[[\"r\",\"p\",[1,2]],[\"r\",\"q\",[2,1]]]"}},
    {APPEND,
     "G1a",
     {"0 9 fail" TXN "[[\"append\",\"p\",1]] =",
      "0 9 ok" TXN "[[\"r\",\"p\",null]] [[\"r\",\"p\",[1]]]"}},
    {APPEND,
     "G1b",
     {"0 9 ok" TXN "[[\"append\",\"p\",1],[\"append\",\"p\",2]] =",
      "0 9 ok" TXN "[[\"r\",\"p\",null]] [[\"r\",\"p\",[1]]]"}},
    {APPEND,
     "G1c",
     {"0 9 ok" TXN "[[\"append\",\"p\",1],[\"r\",\"q\",null]] "
      "[[\"append\",\"p\",1],[\"r\",\"q\",[1]]]",
      "0 9 ok" TXN "[[\"append\",\"q\",1],[\"r\",\"p\",null]] "
      "[[\"append\",\"q\",1],[\"r\",\"p\",[1]]]"}},
    {APPEND,
     "G-single",
     {"0 9 ok" TXN "[[\"append\",\"p\",1],[\"append\",\"q\",1]] =",
      "0 9 ok" TXN "[[\"r\",\"p\",null],[\"r\",\"q\",null]] [[\"r\",\"p\",[1]],[\"r\",\"q\",[]]]",
      "10 11 ok" TXN "[[\"r\",\"q\",null]] [[\"r\",\"q\",[1]]]"}},
    {APPEND,
     "G2",
     {"0 9 ok" TXN "[[\"r\",\"p\",null],[\"append\",\"q\",1]] "
      "[[\"r\",\"p\",[]],[\"append\",\"q\",1]]",
      "0 9 ok" TXN "[[\"r\",\"q\",null],[\"append\",\"p\",1]] "
      "[[\"r\",\"q\",[]],[\"append\",\"p\",1]]",
      "10 11 ok" TXN "[[\"r\",\"p\",null],[\"r\",\"q\",null]] "
      "[[\"r\",\"p\",[1]],[\"r\",\"q\",[1]]]"}},
    {APPEND,
     "G0-realtime",
     {"0 1 ok" TXN "[[\"append\",\"p\",1]] =", "2 3 ok" TXN "[[\"append\",\"p\",2]] =",
      "4 5 ok" TXN "[[\"r\",\"p\",null]] [[\"r\",\"p\",[2,1]]]"}},
    {APPEND,
     "G-single-realtime",
     {"0 1 ok" TXN "[[\"append\",\"p\",1]] =",
      "2 3 ok" TXN "[[\"r\",\"p\",null]] [[\"r\",\"p\",[]]]",
      "4 5 ok" TXN "[[\"r\",\"p\",null]] [[\"r\",\"p\",[1]]]"}},
    {APPEND,
     "lost",
     {"0 1 ok" TXN "[[\"append\",\"p\",1]] =",
      "2 3 ok" TXN "[[\"r\",\"p\",null]] [[\"r\",\"p\",[]]]"}},
};

static void put_in(const struct plant *p)
{
    for (size_t i = 0; i < ARRAY_LEN(p->lines) && p->lines[i] != NULL; i++) {
        char type[8], f[16], key[8], asked[512], seen[512];
        unsigned from, to;
        int n = sscanf(p->lines[i], "%u %u %7s %15s %7s %511s %511s", &from, &to, type, f, key,
                       asked, seen);
        ASSERT(n == 7);
        const char *name = key[0] == '-' ? "" : key;
        emit(-1 - (int64_t)i, "invoke", f, name, asked, m.now_ns + from);
        emit(-1 - (int64_t)i, type, f, name, seen[0] == '=' ? asked : seen, m.now_ns + to);
    }
}

static void plant_now(void)
{
    m.is_planted = true;
    for (size_t i = 0; m.plant != NULL && i < ARRAY_LEN(plants); i++)
        if (plants[i].model == m.model && strcmp(plants[i].name, m.plant) == 0)
            put_in(&plants[i]);
    m.now_ns += 20;
}

static bool plant_is_known(void)
{
    for (size_t i = 0; i < ARRAY_LEN(plants); i++)
        if (plants[i].model == m.model && strcmp(plants[i].name, m.plant) == 0)
            return true;
    return false;
}

/* ---- operations ---------------------------------------------------------------------------- */

static void renew(struct object *o)
{
    *o = (struct object){.number = ++m.keys};
}

/* An object that has not been used too often; renewed when it was. */
static unsigned pick(unsigned uses_max)
{
    unsigned i = (unsigned)rng_below(&m.rng, ACTIVE);
    if (++m.objects[i].uses > uses_max)
        renew(&m.objects[i]);
    return i;
}

static void begin_one(struct process *p, unsigned uses_max)
{
    static const char *const changes[] = {"write", "add", "increment"};
    p->objects[0] = pick(uses_max);
    p->object = m.objects[p->objects[0]].number;
    p->is_read = rng_chance(&m.rng, m.model == SET ? 1 : 5, 10);
    snprintf(p->key, sizeof p->key, "k%" PRIu64, p->object);
    snprintf(p->f, sizeof p->f, "%s", p->is_read ? "read" : changes[m.model]);
    p->arg[0] = m.model == COUNTER ? (int64_t)rng_below(&m.rng, 9) - 4 : (int64_t)++m.elements;
    snprintf(p->asked, sizeof p->asked, "%" PRId64, p->arg[0]);
    if (p->is_read)
        snprintf(p->asked, sizeof p->asked, "null");
}

static void begin_txn(struct process *p)
{
    size_t n = 0;
    p->object_count = 1 + (unsigned)rng_below(&m.rng, 2);
    p->is_read = rng_chance(&m.rng, 4, 10);
    p->key[0] = '\0';
    snprintf(p->f, sizeof p->f, "txn");
    for (unsigned i = 0; i < p->object_count; i++)
        p->objects[i] = pick(LIST_MAX);
    if (p->objects[0] == p->objects[1])
        p->object_count = 1;
    p->object = 0;
    for (unsigned i = 0; i < p->object_count; i++) {
        p->arg[i] = (int64_t)++m.elements;
        /* the key as it is now: if it is renewed before the effect, it does not happen */
        p->object = p->object * 1000003 + m.objects[p->objects[i]].number;
        n += (size_t)snprintf(p->asked + n, sizeof p->asked - n, "%s[\"%s\",\"k%" PRIu64 "\",",
                              i == 0 ? "[" : ",", p->is_read ? "r" : "append",
                              m.objects[p->objects[i]].number);
        n += p->is_read
                 ? (size_t)snprintf(p->asked + n, sizeof p->asked - n, "null]")
                 : (size_t)snprintf(p->asked + n, sizeof p->asked - n, "%" PRId64 "]", p->arg[i]);
    }
    snprintf(p->asked + n, sizeof p->asked - n, "]");
}

static void begin_transfer(struct process *p)
{
    p->key[0] = '\0';
    p->is_read = rng_chance(&m.rng, 1, 2);
    snprintf(p->f, sizeof p->f, "%s", p->is_read ? "read" : "transfer");
    p->arg[0] = (int64_t)rng_below(&m.rng, ACCOUNTS);
    p->arg[1] = (int64_t)rng_below(&m.rng, ACCOUNTS);
    p->arg[2] = 1 + (int64_t)rng_below(&m.rng, 10);
    snprintf(p->asked, sizeof p->asked, "[\"a%" PRId64 "\",\"a%" PRId64 "\",%" PRId64 "]",
             p->arg[0], p->arg[1], p->arg[2]);
    if (p->is_read)
        snprintf(p->asked, sizeof p->asked, "null");
}

static void begin(struct process *p)
{
    p->object_count = 0;
    if (m.model == APPEND)
        begin_txn(p);
    else if (m.model == BANK)
        begin_transfer(p);
    else
        begin_one(p, m.model == REGISTER ? 300 : SET_MAX);
    uint64_t draw = rng_below(&m.rng, 100);
    p->type = draw == 0 ? "fail" : draw == 1 ? "info" : "ok";
    p->happens = draw > 1 || (draw == 1 && rng_chance(&m.rng, 1, 2));
    emit(p->number, "invoke", p->f, p->key, p->asked, m.now_ns);
}

/* ---- effects ----------------------------------------------------------------------------------
 */

static size_t print_list(const struct object *o, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "[");
    for (unsigned i = 0; i < o->len; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%" PRId64, i > 0 ? "," : "", o->list[i]);
    return n + (size_t)snprintf(out + n, size - n, "]");
}

static void effect_one(struct process *p)
{
    struct object *o = &m.objects[p->objects[0]];
    if (o->number != p->object) { /* renewed meanwhile: nobody looks at the old one any more */
        p->happens = false;
        p->type = "fail";
        return;
    }
    if (p->is_read && m.model == SET)
        print_list(o, p->seen, sizeof p->seen);
    else if (p->is_read && m.model == REGISTER && o->value == 0)
        snprintf(p->seen, sizeof p->seen, "null");
    else if (p->is_read)
        snprintf(p->seen, sizeof p->seen, "%" PRId64, o->value);
    else if (m.model == SET)
        o->list[o->len++] = p->arg[0];
    else
        o->value = m.model == COUNTER ? o->value + p->arg[0] : p->arg[0];
}

static void effect_txn(struct process *p)
{
    uint64_t now = 0;
    size_t n = 0;
    for (unsigned i = 0; i < p->object_count; i++)
        now = now * 1000003 + m.objects[p->objects[i]].number;
    if (now != p->object) {
        p->happens = false;
        p->type = "fail";
        return;
    }
    for (unsigned i = 0; i < p->object_count; i++) {
        struct object *o = &m.objects[p->objects[i]];
        if (!p->is_read) {
            o->list[o->len++] = p->arg[i];
            continue;
        }
        n += (size_t)snprintf(p->seen + n, sizeof p->seen - n, "%s[\"r\",\"k%" PRIu64 "\",",
                              i == 0 ? "[" : ",", o->number);
        n += print_list(o, p->seen + n, sizeof p->seen - n);
        n += (size_t)snprintf(p->seen + n, sizeof p->seen - n, "]");
    }
    if (p->is_read)
        snprintf(p->seen + n, sizeof p->seen - n, "]");
}

static void effect_transfer(struct process *p)
{
    if (!p->is_read) {
        if (m.accounts[p->arg[0]] < p->arg[2]) {
            p->type = "fail";
            return;
        }
        m.accounts[p->arg[0]] -= p->arg[2];
        m.accounts[p->arg[1]] += p->arg[2];
        return;
    }
    size_t n = 0;
    for (int i = 0; i < ACCOUNTS; i++)
        n += (size_t)snprintf(p->seen + n, sizeof p->seen - n, "%s[\"a%d\",%" PRId64 "]",
                              i == 0 ? "[" : ",", i, m.accounts[i]);
    snprintf(p->seen + n, sizeof p->seen - n, "]");
}

static void effect(struct process *p)
{
    snprintf(p->seen, sizeof p->seen, "%s", p->asked);
    if (!p->happens)
        return;
    if (m.model == APPEND)
        effect_txn(p);
    else if (m.model == BANK)
        effect_transfer(p);
    else
        effect_one(p);
}

static void end(struct process *p)
{
    bool is_ok = strcmp(p->type, "ok") == 0;
    emit(p->number, p->type, p->f, p->key, is_ok ? p->seen : p->asked, m.now_ns);
    if (strcmp(p->type, "info") == 0)
        p->number += (int64_t)m.process_count;
    m.made++;
}

/* ---- the run
 * -------------------------------------------------------------------------------------- */

static void step(struct process *p)
{
    m.now_ns = MAX(m.now_ns + 1, p->next_ns); /* no two events share an instant */
    switch (p->step) {
    case BEGIN:
        begin(p);
        break;
    case EFFECT:
        effect(p);
        break;
    case END:
        end(p);
        break;
    }
    p->step = p->step == END ? BEGIN : (enum step)(p->step + 1);
    p->next_ns = m.now_ns + 1 + rng_below(&m.rng, 1000000);
}

static void run(void)
{
    if (m.model == BANK) {
        const char *all = "[[\"a0\",100],[\"a1\",100],[\"a2\",100],[\"a3\",100],[\"a4\",100],"
                          "[\"a5\",100]]";
        emit(0, "invoke", "open", "", all, 0);
        emit(0, "ok", "open", "", all, 1);
    }
    m.now_ns = 10;
    while (m.made < m.ops) {
        struct process *next = &m.processes[0];
        for (uint64_t i = 1; i < m.process_count; i++)
            if (m.processes[i].next_ns < next->next_ns)
                next = &m.processes[i];
        if (!m.is_planted && m.made >= m.ops / 2)
            plant_now();
        step(next);
    }
}

static int usage(FILE *to, int status)
{
    fprintf(to, "usage: history-make MODEL [--ops N] [--processes N] [--seed S] [--plant ANOMALY]"
                "\n\nmodels and their anomalies:\n");
    for (int model = 0; model < MODEL_NR; model++) {
        fprintf(to, "  %-9s", model_names[model]);
        for (size_t i = 0; i < ARRAY_LEN(plants); i++)
            if ((int)plants[i].model == model)
                fprintf(to, " %s", plants[i].name);
        fprintf(to, "\n");
    }
    return status;
}

static bool parse(int argc, char **argv, uint64_t *ret_seed)
{
    int model = 0;
    while (model < MODEL_NR && strcmp(model_names[model], argv[1]) != 0)
        model++;
    m.model = (enum model)model;
    bool is_fine = model < MODEL_NR && argc % 2 == 0;
    for (int i = 2; i + 1 < argc && is_fine; i += 2) {
        struct slice value = slice_str(argv[i + 1]);
        if (strcmp(argv[i], "--ops") == 0)
            is_fine = text_parse_u64(value, &m.ops) == 0;
        else if (strcmp(argv[i], "--processes") == 0)
            is_fine = text_parse_u64(value, &m.process_count) == 0;
        else if (strcmp(argv[i], "--seed") == 0)
            is_fine = text_parse_u64(value, ret_seed) == 0;
        else if (strcmp(argv[i], "--plant") == 0)
            m.plant = argv[i + 1];
        else
            is_fine = false;
    }
    return is_fine && m.ops > 0 && m.process_count > 0 && m.process_count <= PROCESSES_MAX &&
           (m.plant == NULL || plant_is_known());
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    m.ops = 1000;
    m.process_count = 20;
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout, 0);
    if (argc < 2 || !parse(argc, argv, &seed))
        return usage(stderr, 2);
    rng_init(&m.rng, seed);
    for (int i = 0; i < ACTIVE; i++)
        renew(&m.objects[i]);
    for (int i = 0; i < ACCOUNTS; i++)
        m.accounts[i] = 100;
    for (uint64_t i = 0; i < m.process_count; i++)
        m.processes[i] =
            (struct process){.number = (int64_t)i, .next_ns = 10 + rng_below(&m.rng, 1000000)};
    run();
    return 0;
}
