/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <editline/readline.h>

#include "base/text.h"

#define PAGER_DEFAULT "if command -v less >/dev/null; then exec less -FRX; else exec more; fi"

/* libedit keeps one state for the process, and its callbacks get no argument. */
static struct {
    struct cli *cli;
    const struct cli_command *table;
    uint32_t keyspace; /* the shell's, whatever single commands name */
    int history_fd;    /* -1: none is kept */
    char **found;      /* candidates for the word that is completed */
    size_t found_count;
    size_t found_next;
} terminal = {.history_fd = -1};

/* Ctrl-C was typed. */
static volatile sig_atomic_t interrupted;

/* ---- history ------------------------------------------------------------------------ */

static bool history_path(char *path, size_t size)
{
    const char *named = getenv("HOLDFAST_HISTORY");
    const char *home = getenv("HOME");
    int n = 0;
    if (named != NULL)
        n = snprintf(path, size, "%s", named);
    else if (home != NULL && home[0] != 0)
        n = snprintf(path, size, "%s/.holdfast_history", home);
    return n > 0 && (size_t)n < size;
}

/* The last HISTORY_MAX lines of `fd` to libedit, and how many there are in all. */
static size_t history_read(int fd)
{
    FILE *file = fdopen(dup(fd), "r");
    char line[HISTORY_LINE_MAX];
    size_t count = 0;
    if (file == NULL)
        return 0;
    rewind(file);
    while (fgets(line, sizeof line, file) != NULL) {
        size_t len = strcspn(line, "\n");
        if (line[len] != '\n') { /* over the limit: no line of ours */
            int c;
            while ((c = fgetc(file)) != EOF && c != '\n')
                ;
            continue;
        }
        line[len] = 0;
        add_history(line);
        count++;
    }
    fclose(file);
    return count;
}

/* What is remembered takes the place of a file that has grown long. */
static void history_shorten(const char *path)
{
    char aside[4096];
    int n = snprintf(aside, sizeof aside, "%s.%ld", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof aside)
        return;
    int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL)
        return;
    for (int i = 0; i < history_length; i++) {
        const HIST_ENTRY *entry = history_get(history_base + i);
        if (entry != NULL)
            fprintf(file, "%s\n", entry->line);
    }
    if (fclose(file) != 0 || rename(aside, path) != 0)
        unlink(aside);
}

static int history_open(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
        (void)fchmod(fd, 0600); /* of a time before it was ours alone; fails if it is not ours */
    return fd;
}

static void history_begin(void)
{
    char path[4000];
    using_history();
    stifle_history(HISTORY_MAX);
    if (!history_path(path, sizeof path))
        return;
    terminal.history_fd = history_open(path);
    if (terminal.history_fd < 0) {
        fprintf(stderr, "history '%s': %s\n", path, strerror(errno));
        return;
    }
    if (history_read(terminal.history_fd) < 2 * HISTORY_MAX)
        return;
    history_shorten(path);
    close(terminal.history_fd);
    terminal.history_fd = history_open(path);
}

/* One call a line: lines of two shells do not mix. */
static void history_keep(const char *line)
{
    char out[HISTORY_LINE_MAX + 1];
    size_t len = strlen(line);
    if (line[0] == 0 || line[0] == ' ' || len + 1 >= HISTORY_LINE_MAX)
        return;
    add_history(line);
    if (terminal.history_fd < 0)
        return;
    memcpy(out, line, len);
    out[len] = '\n';
    if (write(terminal.history_fd, out, len + 1) < 0) {
        fprintf(stderr, "history: %s\n", strerror(errno));
        close(terminal.history_fd);
        terminal.history_fd = -1;
    }
}

/* ---- completion ------------------------------------------------------------------------ */

static void found_add(const char *text, size_t len)
{
    char **grown = realloc(terminal.found, (terminal.found_count + 1) * sizeof *grown);
    char *copy = strndup(text, len);
    if (grown != NULL)
        terminal.found = grown;
    if (grown == NULL || copy == NULL)
        free(copy);
    else
        terminal.found[terminal.found_count++] = copy;
}

static void find_commands(const struct cli_command *table, const char *text)
{
    size_t len = strlen(text);
    for (; table->name != NULL; table++) {
        if (strncmp(table->name, text, len) == 0)
            found_add(table->name, strlen(table->name));
    }
}

/* Could it be typed as it is? */
static bool is_plain(struct hf_bytes key)
{
    const uint8_t *bytes = key.data;
    for (size_t i = 0; i < key.len; i++) {
        if (bytes[i] <= ' ' || bytes[i] == 0x7f || strchr("'\"\\#", bytes[i]) != NULL)
            return false;
    }
    return key.len > 0 && text_is_utf8(slice_of(key.data, key.len));
}

static void find_some(const char *text, bool is_reverse, uint32_t limit)
{
    struct hf_span span;
    struct hf_call call;
    struct hf_scan *scan = NULL;
    struct hf_item item;
    hf_span_init(&span);
    hf_call_init(&call);
    span.prefix = hf_str(text);
    span.keys_only = 1;
    span.reverse = is_reverse;
    span.limit_keys = limit;
    call.keyspace = terminal.keyspace;
    call.timeout_ms = TERMINAL_KEYS_MS;
    if (hf_scan_new(terminal.cli->client, &span, &call, &scan) != HF_OK)
        return;
    for (uint32_t i = 0; i < limit && hf_scan_next(scan, &item) == 1; i++) {
        if (is_plain(item.key))
            found_add(item.key.data, item.key.len);
    }
    hf_scan_free(scan);
}

/* The first ones, and, since what they have in common may be more than what all have, the last
 * one. */
static void find_keys(const char *text)
{
    find_some(text, false, TERMINAL_KEYS_MAX);
    if (terminal.found_count == TERMINAL_KEYS_MAX)
        find_some(text, true, 1);
}

static char *next_found(const char *text, int state)
{
    (void)text;
    if (state == 0)
        terminal.found_next = 0;
    if (terminal.found_next == terminal.found_count)
        return NULL;
    return strdup(terminal.found[terminal.found_next++]); /* libedit frees it */
}

static void found_clear(void)
{
    for (size_t i = 0; i < terminal.found_count; i++)
        free(terminal.found[i]);
    free(terminal.found);
    terminal.found = NULL;
    terminal.found_count = 0;
}

/* Candidates for the word of the line that begins at `start`. */
static char **complete(const char *text, int start, int end)
{
    const struct cli_command *table = terminal.table;
    const char *at = rl_line_buffer;
    const char *word_end = rl_line_buffer + start;
    (void)end;
    found_clear();
    while (table != NULL) {
        at += strspn(at, " \t");
        size_t len = strcspn(at, " \t");
        if (at >= word_end)
            break;
        const struct cli_command *c = table;
        while (c->name != NULL && !(strlen(c->name) == len && strncmp(c->name, at, len) == 0))
            c++;
        table = c->name != NULL ? c->children : NULL;
        at += len;
        if (c->name == NULL)
            break;
    }
    rl_attempted_completion_over = 1; /* no file names */
    if (text[0] == '-')
        return NULL;
    if (table != NULL)
        find_commands(table, text);
    else
        find_keys(text);
    return terminal.found_count > 0 ? rl_completion_matches(text, next_found) : NULL;
}

/* ---- the terminal ------------------------------------------------------------------------ */

static void note_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

void terminal_begin(struct cli *cli, const struct cli_command *table)
{
    static char blanks[] = " \t";
    terminal.cli = cli;
    terminal.table = table;
    terminal.keyspace = cli->keyspace_id;
    rl_readline_name = "holdfast";
    rl_attempted_completion_function = complete;
    rl_completer_word_break_characters = blanks;
    rl_catch_signals = 0; /* they are for note_interrupt(), also while a line is typed */
    struct sigaction action = {.sa_handler = note_interrupt}; /* no SA_RESTART: a read ends */
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    cli->interrupted = &interrupted;
    history_begin();
}

char *terminal_line(const char *prompt)
{
    for (;;) {
        interrupted = 0;
        char *line = readline(prompt);
        if (line != NULL && interrupted == 0) {
            history_keep(line);
            return line;
        }
        free(line);
        if (interrupted == 0)
            return NULL;
        printf("\n"); /* the line is given up */
    }
}

void terminal_end(void)
{
    found_clear();
    clear_history();
    if (terminal.history_fd >= 0)
        close(terminal.history_fd);
    terminal.history_fd = -1;
    terminal.cli->interrupted = NULL;
    (void)signal(SIGINT, SIG_DFL);
}

/* ---- paging -------------------------------------------------------------------------------- */

void terminal_page_begin(struct cli *cli)
{
    struct winsize size;
    const char *named = getenv("PAGER");
    cli->page_lines = 0;
    if (!isatty(STDOUT_FILENO) || (named != NULL && named[0] == 0))
        return;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2) {
        cli->page_lines = size.ws_row - 1u;
        cli->pager_command = named != NULL ? named : PAGER_DEFAULT;
    }
}

void terminal_page_end(struct cli *cli)
{
    cli->page_lines = 0;
    if (cli->pager == NULL)
        return;
    (void)pclose(cli->pager);
    cli->pager = NULL;
    cli->is_out_bad = false; /* who has seen enough leaves the pager: no failure of ours */
}
