/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the wire share among themselves: the parts that several messages have. wire_v1.c. */
#ifndef LIB_WIRE_IMPL_H
#define LIB_WIRE_IMPL_H

#include <stdbool.h>

#include "lib/frame.h"
#include "lib/names.h"
#include "lib/rd.h"
#include "lib/wire_v1.h"
#include "lib/wr.h"

struct err;
struct wire_generations;

/* -EBADMSG with a text that names the message and the field. */
int wire_bad__(struct err *e, const struct frame *f, const char *field);
/* For the end of a decode: the payload must have been as long as its message. */
int wire_done__(struct err *e, const struct frame *f, const struct rd *r);

void wire_put_name__(struct wr *w, const char *name);
/* False when it is there and is no name; that it is not there shows in the reader. */
bool wire_get_name__(struct rd *r, char name[NAME_SIZE]);

/* Cut to what fits, control characters made blanks: a text never stops a message. */
void wire_put_text__(struct wr *w, const char *text, size_t len);
/* As wire_get_name__(); it takes all that is left. */
bool wire_get_text__(struct rd *r, size_t len, char text[WIRE_TEXT_MAX + 1]);

void wire_put_generations__(struct wr *w, const struct wire_generations *g);
void wire_get_generations__(struct rd *r, struct wire_generations *g);

#endif
