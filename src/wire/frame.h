/* SPDX-License-Identifier: Apache-2.0
 *
 * frame — how bodies stand on a stream: a length, a checksum, a flag byte.
 *
 *   offset  size  field      little-endian
 *        0     4  length     bytes after this header: 1 + what follows the flags
 *        4     4  crc32c     of flags and what follows
 *        8     1  flags      FRAME_LZ4, all other bits 0
 *        9     …  body       one msgpack map (msg.h); with FRAME_LZ4:
 *                            u32 raw_len, then one LZ4 block
 *
 *   stream bytes ──▶ frame_reader_feed() ──▶ frame_reader_next() … ERR_SHORT
 *   frame_begin(buf), x_encode(buf, …), frame_end(buf) ──▶ env_conn_write()
 *
 * Units      lengths are bytes.
 * Ownership  a body handed out by the reader is borrowed from the bytes fed or
 *            from the reader, until the next call on that reader.
 * Errors     ERR_SHORT is the normal end of what was fed; ERR_CORRUPT (checksum,
 *            flags, LZ4) and ERR_TOO_LARGE end the connection: the reader must not
 *            be used after, but for fini.
 * Limits     the reader keeps one unfinished frame, and grows with the bytes that arrive,
 *            to FRAME_AHEAD times of them, never by what a header claims alone; an expanded body is
 * at most 255 times what arrived (LZ4's own greatest ratio) and at most body_max.
 */
#ifndef WIRE_FRAME_H_
#define WIRE_FRAME_H_

#include "base/buf.h"
#include "base/err.h"

enum {
    FRAME_HEADER_LEN = 8,
    FRAME_PREFIX_LEN = 9, /* header and flags: a body starts here */
    FRAME_LZ4_MIN = 4096, /* bytes of body from which compression is tried */
};
enum { FRAME_LZ4 = 1 << 0 };

/* Greatest body between authenticated ends: a 16 MiB command or entry and what
 * stands around it. Before authentication, a few kilobytes are enough. */
#define FRAME_BODY_MAX ((size_t)24 << 20)
#define FRAME_BODY_MAX_HELLO ((size_t)4096)

/* ---- writing ------------------------------------------------------------ */

/* Leave room for header and flags at the end of `buf`; the body is appended after
 * it. Returns where the frame starts, for frame_end(). */
size_t frame_begin(struct buf *buf);

/* Close the frame that starts at `start` and runs to the end of `buf`: compress
 * the body if `compress` and it is long and it pays, then fill the header. If
 * buf->failed, does nothing: the caller tests that once, before sending.
 * Several frames may stand in one buf. */
void frame_end(struct buf *buf, size_t start, bool compress);

/* As frame_end() with compression, for a stream of bodies that are alike: after one that did not
 * pay, the next are not even tried, of so many in a row more and more, up to FRAME_UNTRIED_MAX.
 * Zeroed before the first. */
struct frame_pace {
    uint32_t untried; /* so many are not tried now … */
    uint32_t next;    /* … and so many after the next that does not pay */
};
enum { FRAME_UNTRIED_MAX = 31 };
void frame_end_paced(struct buf *buf, size_t start, struct frame_pace *pace);

/* ---- reading ------------------------------------------------------------ */

enum { FRAME_AHEAD = 8 };

struct frame_reader {
    size_t body_max; /* may be raised by frame_reader_limit() */
    /* private */
    struct slice input; /* borrowed: what was fed and not read yet */
    struct buf partial; /* owned: the frame that is not complete */
    struct buf plain;   /* owned: an expanded body */
    bool has_frame;     /* `partial` holds a frame that was handed out */
    bool is_broken;     /* an error was returned */
};

void frame_reader_init(struct frame_reader *reader, size_t body_max);

/* Accepts a zeroed reader. */
void frame_reader_fini(struct frame_reader *reader);

/* Bodies up to `body_max` from now on (after authentication). */
void frame_reader_limit(struct frame_reader *reader, size_t body_max);

/* Give the reader the next bytes of the stream, borrowed until
 * frame_reader_next() has returned something else than 0. What was fed before
 * must be used up. */
void frame_reader_feed(struct frame_reader *reader, struct slice bytes);

/* A place for the next bytes of the stream, and for how many at most: behind what is kept of a
 * large frame, where they would be copied to otherwise. NULL where that does not pay. To be fed
 * from there, before anything else is asked of the reader; bytes from elsewhere are fed as ever. */
uint8_t *frame_reader_room(struct frame_reader *reader, size_t *ret_len);

/* The next whole body. 0 and *ret_body; ERR_SHORT when all that was fed is used
 * up; ERR_TOO_LARGE, ERR_CORRUPT, ERR_NOMEM: close the connection. */
int frame_reader_next(struct frame_reader *reader, struct slice *ret_body, struct err *err);

/* Take back what was fed and not used yet, to feed it again later: for one who must
 * stop between two frames. The body handed out last stays valid. */
struct slice frame_reader_take_back(struct frame_reader *reader);

/* Bytes kept of a frame that is not complete; 0 between frames. */
size_t frame_reader_held(const struct frame_reader *reader);

/* Bytes of memory that it has: of a frame that is not complete up to FRAME_AHEAD times what came,
 * and what it keeps between frames. */
size_t frame_reader_memory(const struct frame_reader *reader);

/* Give back what it keeps between frames. A body that was handed out is not valid any more. */
void frame_reader_trim(struct frame_reader *reader);

#endif
