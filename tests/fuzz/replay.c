/* SPDX-License-Identifier: Apache-2.0
 *
 * replay FOLDER — give every file of a kept corpus to a fuzz target once: what fuzzing
 * found stays found, in builds without libFuzzer too. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUT_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In an allocation of its exact length, so that one byte too far is seen. */
static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    uint8_t *whole = malloc(INPUT_MAX);
    size_t len = whole != NULL ? fread(whole, 1, INPUT_MAX, file) : 0;
    fclose(file);
    uint8_t *exact = realloc(whole, len > 0 ? len : 1);
    if (exact == NULL) {
        free(whole);
        return -1;
    }
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    int count = 0;
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (dir == NULL) {
        fprintf(stderr, "usage: replay FOLDER\n");
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (replay_file(path) != 0) {
            fprintf(stderr, "%s cannot be read\n", path);
            return 1;
        }
        count++;
    }
    closedir(dir);
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1; /* an empty corpus proves nothing */
}
