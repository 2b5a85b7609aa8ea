/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "env/sim/sim_internal.h"

/* The site of this name; drawn from name and seed at its first use, so that it does
 * not matter which site is met first. */
static struct sim_site *site_get(struct sim *sim, const char *name)
{
    static const uint32_t strengths[] = {1000, 10000, 100000, 500000};
    for (size_t i = 0; i < sim->site_count; i++)
        if (strcmp(sim->sites[i].name, name) == 0)
            return &sim->sites[i];
    uint64_t mix = sim->seed;
    for (const char *p = name; *p != '\0'; p++)
        mix = (mix ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
    struct rng rng;
    rng_init(&rng, mix);
    bool is_on = rng_chance(&rng, sim->options.fault_site_ppm, 1000000);
    uint32_t ppm = strengths[rng_below(&rng, ARRAY_LEN(strengths))];
    sim->sites = sim_grow(sim->sites, &sim->site_cap, sim->site_count + 1, sizeof *sim->sites);
    struct sim_site *site = &sim->sites[sim->site_count++];
    *site = (struct sim_site){.name = sim_strdup(name), .ppm = is_on ? ppm : 0};
    return site;
}

bool sim_fault_draw(struct sim *sim, const char *name)
{
    if (sim->options.fault_site_ppm == 0 && !sim->sites_forced)
        return false;
    struct sim_site *site = site_get(sim, name);
    if (site->ppm == 0 || !rng_chance(&sim->rng_fault, site->ppm, 1000000))
        return false;
    site->count++;
    return true;
}

void sim_fault_set(struct sim *sim, const char *name, uint32_t ppm)
{
    ASSERT(ppm <= 1000000);
    sim->sites_forced = true;
    site_get(sim, name)->ppm = ppm;
}

uint64_t sim_fault_count(const struct sim *sim, const char *name)
{
    for (size_t i = 0; i < sim->site_count; i++)
        if (strcmp(sim->sites[i].name, name) == 0)
            return sim->sites[i].count;
    return 0;
}

void sim_fault_each(const struct sim *sim, void (*cb)(void *data, const char *site, uint64_t count),
                    void *data)
{
    for (size_t i = 0; i < sim->site_count; i++)
        cb(data, sim->sites[i].name, sim->sites[i].count);
}

void sim_fault_stop(struct sim *sim)
{
    for (size_t i = 0; i < sim->site_count; i++)
        sim->sites[i].ppm = 0;
    sim->sites_forced = false;
    sim->options.fault_site_ppm = 0;
}

void sim_sites_free(struct sim *sim)
{
    for (size_t i = 0; i < sim->site_count; i++)
        free(sim->sites[i].name);
    free(sim->sites);
}
