/* SPDX-License-Identifier: Apache-2.0 */
#include "support/crash_points.h"

static void crash_points_on_call(void *data, struct sim_disk *disk, const char *op,
                                 const char *path)
{
    struct crash_points *points = data;
    points->calls++;
    if (points->every > 1 && points->calls % points->every != 0)
        return;
    struct crash_point point = {
        .number = points->calls, .op = op, .path = path, .rng = &points->rng};
    for (uint32_t i = 0; i < points->images; i++) {
        points->n_images++;
        points->verify(points->data, &point, sim_disk_crash_image(disk, &points->rng));
    }
    point.is_kill = true;
    points->n_images++;
    points->verify(points->data, &point, sim_disk_clone(disk));
}

void crash_points_start(struct crash_points *points, struct sim_disk *disk, uint64_t seed)
{
    ASSERT(points->verify != NULL);
    points->disk = disk;
    points->calls = points->n_images = 0;
    rng_init(&points->rng, seed);
    sim_disk_watch(disk, crash_points_on_call, points);
}

void crash_points_stop(struct crash_points *points)
{
    sim_disk_watch(points->disk, NULL, NULL);
}
