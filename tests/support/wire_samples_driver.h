/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_samples_driver — samples of what stores and placement tell each other, for
 * wire_samples.c.
 */
#ifndef TESTS_SUPPORT_WIRE_SAMPLES_DRIVER_H_
#define TESTS_SUPPORT_WIRE_SAMPLES_DRIVER_H_

#include "base/buf.h"
#include "base/err.h"

/* Read every byte. */
void wire_touch(struct slice s);

void store_beat_sample(struct buf *buf);
int store_beat_try(struct slice body, struct err *err);
void store_beat_again(struct slice body, struct buf *buf);
void range_beat_sample(struct buf *buf);
int range_beat_try(struct slice body, struct err *err);
void range_beat_again(struct slice body, struct buf *buf);
void driver_word_sample(struct buf *buf);
int driver_word_try(struct slice body, struct err *err);
void driver_word_again(struct slice body, struct buf *buf);
void step_done_sample(struct buf *buf);
int step_done_try(struct slice body, struct err *err);
void step_done_again(struct slice body, struct buf *buf);
void pulse_sample(struct buf *buf);
int pulse_try(struct slice body, struct err *err);
void pulse_again(struct slice body, struct buf *buf);
void snapshot_resume_sample(struct buf *buf);
int snapshot_resume_try(struct slice body, struct err *err);
void snapshot_resume_again(struct slice body, struct buf *buf);

#endif
