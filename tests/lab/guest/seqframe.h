/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What seqsend (guest) puts into its frames and seqrecv (client) looks for. All fields in network byte order. */
#ifndef SEQFRAME_H
#define SEQFRAME_H

#include <stdint.h>

#define SEQ_MAGIC 0x52534551u /* "RSEQ" */
#define SEQ_UDP_PORT 7788
#define SEQ_ETHERTYPE 0x88b5 /* IEEE 802: for local experiments */

enum seq_kind {
	SEQ_IPV4,
	SEQ_IPV6,
	SEQ_ARP,
	SEQ_RAW,
	SEQ_KINDS
};

/*
 * A guest that is set back to an older state sends the same numbers again, with other nonces. So a number seen with two
 * nonces was let out before its epoch was safe: a leak.
 */
struct seq_tag {
	uint32_t magic;
	uint32_t kind;
	uint64_t seq;
	uint64_t nonce;
} __attribute__((packed));

#endif
