/* SPDX-License-Identifier: Apache-2.0
 *
 * range recover: what holdfastd does to the folder of a stopped store when its ranges have
 * lost their majority for good (store/recover.h). Without --yes it only says what that would be.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ranges.h"

enum { PATH_SIZE = 4096, WORDS_MAX_HERE = 12 };

/* holdfastd stands beside this program. */
static bool find_server(char path[PATH_SIZE])
{
    char self[PATH_SIZE - 16];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = 0;
    char *slash = strrchr(self, '/');
    if (slash != NULL)
        *slash = 0;
    snprintf(path, PATH_SIZE, "%s/holdfastd", self);
    return access(path, X_OK) == 0;
}

/* Not the shell's own input: that has the next commands. */
static int start(const char *path, const char *const *run, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    int errnum = posix_spawn_file_actions_init(&actions);
    if (errnum != 0)
        return errnum;
    errnum = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (errnum == 0)
        errnum = posix_spawn(ret_pid, path, &actions, NULL, (char *const *)run, environ);
    posix_spawn_file_actions_destroy(&actions);
    return errnum;
}

/* The shell goes on behind it. Returns what holdfastd ended with. */
static int run_and_wait(struct cli *cli, const char *path, const char *const *run)
{
    pid_t pid;
    int status = 0;
    if (!cli_flush(cli, true))
        return EXIT_ERROR;
    int errnum = start(path, run, &pid);
    if (errnum != 0)
        return cli_error(cli, "run '%s': %s", path, strerror(errnum));
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) /* Ctrl-C ends it, and not the shell */
            return cli_error(cli, "wait for '%s': %s", path, strerror(errno));
    }
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    return cli_error(cli, "'%s' was ended by signal %d", path, WTERMSIG(status));
}

int range_recover_run(struct cli *cli, int argc, const char *const *argv)
{
    const char *config = NULL, *data = NULL, *lost = NULL;
    bool is_unsafe = false, is_yes = false;
    const struct args_flag flags[] = {
        {"unsafe", 0, ARGS_SWITCH, &is_unsafe, NULL, NULL,
         "what is not in this folder is lost: say that you know"},
        {"lost", 0, ARGS_TEXT, &lost, NULL, "STORE,…", "stores that never come back"},
        {"data", 0, ARGS_TEXT, &data, NULL, "DIR", "the stopped store's folder"},
        {"config", 'c', ARGS_TEXT, &config, NULL, "FILE", "or its configuration"},
        {"yes", 0, ARGS_SWITCH, &is_yes, NULL, NULL, "do it; without: only say what would be done"},
    };
    struct cli_words words;
    int exit_code = EXIT_DONE;
    cli->is_offline = true;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 0, &words, &exit_code))
        return exit_code;
    if (!is_unsafe || lost == NULL || (data == NULL && config == NULL))
        return cli_usage(cli, "--unsafe, --lost STORE,… and --data DIR or --config FILE");
    char path[PATH_SIZE];
    if (!find_server(path))
        return cli_error(cli, "no holdfastd beside this program");
    const char *run[WORDS_MAX_HERE] = {path, "--recover", lost, "--log-level", "warn"};
    size_t n = 5;
    if (config != NULL) {
        run[n++] = "--config";
        run[n++] = config;
    }
    if (data != NULL) {
        run[n++] = "--data";
        run[n++] = data;
    }
    if (!is_yes)
        run[n++] = "--plan";
    ASSERT(n < WORDS_MAX_HERE);
    if (cli->is_shell)
        return run_and_wait(cli, path, run);
    execv(path, (char *const *)run);
    return cli_error(cli, "run '%s': %s", path, strerror(errno));
}
