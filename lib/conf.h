/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /etc/romulus/romulus.conf and vm.d/<vm>.conf: text in, a checked struct out that never changes again.
 * One table per file (conf.c) drives parsing, range checks, --check-config and the test that compares the
 * manual and the shipped file with it. An unknown key is an error with file:line. Any thread may read the
 * result; loading is done by the mains before they start threads.
 */
#ifndef LIB_CONF_H
#define LIB_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/compiler.h"
#include "lib/names.h"

struct conf_key;
struct err;
struct timing;

#define CONF_DEFAULT_PATH CONF_DIR "/romulus.conf"
#define CONF_MAX_PEERS 32
#define CONF_MAX_DISKS 64
#define CONF_MAX_KEYS 64
#define CONF_MAX_BYTES (1u << 20)
#define CONF_ADDRESS_SIZE 256
#define CONF_PATH_SIZE 256
/* A list of texts in one field. */
#define CONF_LINES_SIZE 1024
/* A control socket's path must fit sun_path: directory + "/" + vm + ".primary.ctl". */
#define CONF_RUN_DIR_SIZE 32

struct conf_peer {
	char name[NAME_SIZE];
	char address[CONF_ADDRESS_SIZE]; /* IP address or host name, not resolved here */
	uint16_t port;
	char fence_options[CONF_LINES_SIZE]; /* lines of key=value for the fence agent */
	unsigned int line;		     /* of its group in the file */
};

/* What becomes of a VM that was activated. */
enum conf_reprotect {
	CONF_REPROTECT_AUTO, /* it is protected to its former host as soon as that is back */
	CONF_REPROTECT_NEVER,
};

/* Who is asked before a side goes alone under the policy `arbiter`: docs/decisions/007. */
enum conf_arbiter_kind {
	CONF_ARBITER_NONE,
	CONF_ARBITER_WITNESS,
	CONF_ARBITER_ETCD,
	CONF_ARBITER_FENCE,
};

/* etcd's endpoints, tried in turn, and the least time that each must get of arbiter.timeout. */
#define CONF_MAX_ENDPOINTS 8
#define CONF_ENDPOINT_MIN_NS (UINT64_C(200) * 1000 * 1000)

/* When an epoch of a disk counts as held by the backup: docs/disk.md. */
enum conf_disk_mode {
	CONF_DISK_MEMORY,
	CONF_DISK_FLUSH,
	CONF_DISK_EPOCH,
};

struct conf_disk {
	char name[NAME_SIZE];
	char path[CONF_PATH_SIZE];    /* a raw file or a block device */
	char journal[CONF_PATH_SIZE]; /* empty: <state_dir>/disk/<name>.journal */
	uint64_t journal_bytes;	      /* of the file that --format makes */
	uint64_t copy_rate;	      /* bytes a second */
	uint64_t queue_bytes;	      /* writes that the backup has not acknowledged */
	uint64_t stall_ns;	      /* how long they may hold up the guest */
	uint64_t mode;		      /* enum conf_disk_mode */
	unsigned int line;
};

/* Sizes are bytes, times are nanoseconds. */
struct conf {
	char host_name[NAME_SIZE]; /* the system's host name unless configured */
	char listen_address[CONF_ADDRESS_SIZE];
	uint64_t listen_port;
	uint64_t heartbeat_port;  /* first UDP port for heartbeats; 0: any free one */
	uint64_t heartbeat_ports; /* how many from there on */

	char tls_ca[CONF_PATH_SIZE];
	char tls_cert[CONF_PATH_SIZE];
	char tls_key[CONF_PATH_SIZE];
	bool tls_ktls;

	struct conf_peer peer[CONF_MAX_PEERS];
	size_t n_peers;
	struct conf_disk disk[CONF_MAX_DISKS];
	size_t n_disks;

	uint64_t arbiter_kind;	     /* enum conf_arbiter_kind */
	uint64_t arbiter_timeout_ns; /* of one question, whatever the arbiter is, but for a fence */
	char witness_name[NAME_SIZE]; /* what its certificate says */
	char witness_address[CONF_ADDRESS_SIZE];
	uint64_t witness_port;
	char etcd_endpoints[CONF_LINES_SIZE]; /* lines of https://host:port */
	char etcd_prefix[CONF_PATH_SIZE];     /* of the keys */
	char etcd_ca[CONF_PATH_SIZE];	      /* these three: empty, as in tls */
	char etcd_cert[CONF_PATH_SIZE];
	char etcd_key[CONF_PATH_SIZE];
	char fence_agent[CONF_PATH_SIZE];
	char fence_options[CONF_LINES_SIZE]; /* for every peer */
	uint64_t fence_timeout_ns;	     /* for off, and for status to say so */
	uint64_t fence_delay_ns;	     /* before it, where the VM's backup is */

	/* Defaults of each VM. vm_state_timing() gives what holds for one VM. */
	uint64_t epoch_period_ns;
	uint64_t heartbeat_period_ns;
	uint64_t failure_timeout_ns;
	uint64_t suspend_timeout_ns; /* 0: derived (lib/timing.h) */
	uint64_t arena_bytes;	     /* 0: a quarter of the guest's memory */
	uint64_t delta_cache_bytes;  /* 0: an eighth of the guest's memory */
	uint64_t netbuf_limit_bytes; /* held output per lane of a vif */
	uint64_t reprotect;	     /* enum conf_reprotect */

	uint64_t max_unauthenticated;  /* connections that have not shown a certificate yet */
	uint64_t handshake_timeout_ns; /* after which such a connection is closed */

	char state_dir[CONF_PATH_SIZE];
	char run_dir[CONF_RUN_DIR_SIZE];
	char vm_dir[CONF_PATH_SIZE]; /* vm.d */
	char drill_probe_dir[CONF_PATH_SIZE];
	char drill_overlay_dir[CONF_PATH_SIZE];
	uint64_t drill_overlay_bytes;
	uint64_t log_level; /* enum log_level */

	/* Private to conf.c. */
	char path[CONF_PATH_SIZE];
	unsigned int source_line[CONF_MAX_KEYS];
};

/* vm.d/<vm>.conf: what `protect` takes when it is not told. Empty text or 0: not given there. */
struct conf_vm {
	char peer[NAME_SIZE];
	char policy
		[16]; /* hold, primary-wins, backup-wins, arbiter; empty: as the host has an arbiter or not */
	char reprotect[16]; /* auto, never */
	uint64_t epoch_period_ns;
	uint64_t heartbeat_period_ns;
	uint64_t failure_timeout_ns;
	unsigned int source_line[CONF_MAX_KEYS]; /* private */
};

/*
 * Load and check, timing_check() among it. The caller owns *out and gives it back with conf_free().
 * 0, -ENOENT, -EINVAL (text has file:line), -ENOMEM or another negative errno.
 */
MUST_CHECK int conf_load(const char *path, const struct conf **out, struct err *e);
/* NULL is a no-op. */
void conf_free(const struct conf *c);

/* <vm_dir>/<vm>.conf; a missing file gives an empty *out and 0. */
MUST_CHECK int conf_load_vm(const struct conf *c, const char *vm, struct conf_vm *out,
			    struct err *e);

/* The configured peer of this name or NULL; owned by c. */
const struct conf_peer *conf_peer(const struct conf *c, const char *name);
/* The same of a disk. */
const struct conf_disk *conf_disk(const struct conf *c, const char *name);

/* The host's default times. Per-VM ones: vm_state_timing(). */
void conf_timing(const struct conf *c, struct timing *t);

/*
 * The longest that romulus-arbiter can take to answer by this configuration, so that whoever runs it knows
 * when it hangs: 0 without an arbiter.
 */
uint64_t conf_arbiter_bound(const struct conf *c);
/* Of two hosts with the same kind of arbiter: different numbers mean different arbiters. 0: nothing tells them apart. */
uint32_t conf_arbiter_id(const struct conf *c);
/* Line i of a list of texts, cut to size; false: there is none. */
bool conf_line(const char *lines, size_t i, char *buf, size_t size);

/*
 * A file of another schema without lists of groups, into *out: the defaults, then what the file says. source_line: by
 * key, 0 where the default holds; NULL: not wanted. Errors as conf_load().
 */
MUST_CHECK int conf_load_keys(const char *path, const struct conf_key *keys, size_t n_keys,
			      void *out, unsigned int *source_line, struct err *e);
/* Each of them, its value, where it comes from. */
void conf_print_keys(const char *path, const struct conf_key *k, size_t n_keys, const void *in,
		     const unsigned int *source_line, FILE *out);

/* --check-config: each key, its effective value, where it comes from. */
void conf_print(const struct conf *c, FILE *out);

/* "25ms" "1.5s" "100us" "2m" → ns. "64MiB" "4KiB" "1GiB" "512" → bytes. 0 or -EINVAL. */
MUST_CHECK int conf_parse_duration(const char *text, uint64_t *ns, struct err *e);
MUST_CHECK int conf_parse_size(const char *text, uint64_t *bytes, struct err *e);
/* The shortest exact form, such as "50ms" or "64MiB"; buf of 32 bytes is enough. Returns buf. */
const char *conf_format_duration(uint64_t ns, char *buf, size_t size);
const char *conf_format_size(uint64_t bytes, char *buf, size_t size);

enum conf_type {
	CONF_TEXT,    /* any text */
	CONF_NAME,    /* name_ok() */
	CONF_PATH,    /* absolute path */
	CONF_ADDRESS, /* IP address or host name */
	CONF_INT,
	CONF_DURATION,
	CONF_SIZE,
	CONF_BOOL,
	CONF_ENUM,  /* one of the values, stored as its index */
	CONF_WORD,  /* one of the values, stored as text */
	CONF_LINES, /* a text or [ "a", "b" ]: stored with a newline between */
};

/* One line of a schema. Numbers are uint64_t or uint16_t, bool is bool, texts are arrays of `size` bytes. */
struct conf_key {
	const char *name; /* "group.key" or "key" */
	enum conf_type type;
	uint64_t min, max;	   /* inclusive; plain numbers, ns, bytes */
	bool or_zero;		   /* 0 is fine too, whatever min says */
	const char *dflt;	   /* as written in the file, without quotes; NULL: must be given */
	const char *const *values; /* CONF_ENUM, CONF_WORD: ended by NULL */
	size_t offset;
	size_t size;
	const char *help; /* one sentence */
};

/* The schema of romulus.conf without its lists, of one peer, of one disk, and of vm.d files. conf_schema.c. */
const struct conf_key *conf_keys(size_t *n);
/* Of romulus.conf as a whole: what its arbiter's keys say together. conf_arbiter.c, for conf_load(). */
MUST_CHECK int conf_arbiter_check__(const struct conf *c, struct err *e);
const struct conf_key *conf_peer_keys(size_t *n);
const struct conf_key *conf_disk_keys(size_t *n);
const struct conf_key *conf_vm_keys(size_t *n);

#endif
