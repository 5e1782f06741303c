/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every key there is. etc/romulus.conf and man/romulus.conf.5 say the same, and tests/check-docs compares.
 * Pure, but for conf_print(). See conf.h.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/timing.h"

#define KIB(n) (UINT64_C(n) << 10)
#define MIB(n) (UINT64_C(n) << 20)
#define GIB(n) (UINT64_C(n) << 30)
#define MS(n) (UINT64_C(n) * NS_PER_MS)
#define SEC(n) (UINT64_C(n) * NS_PER_SEC)

#define FIELD(type, field) \
	.offset = offsetof(struct type, field), .size = SIZEOF_FIELD(struct type, field)

/* In the order of enum log_level, enum conf_disk_mode and the values of the wire's policy. */
static const char *const log_levels[] = {"err", "warn", "info", "debug", NULL};
static const char *const disk_modes[] = {"memory", "flush", "epoch", NULL};
/* In the order of enum conf_arbiter_kind. */
static const char *const arbiters[] = {"none", "witness", "etcd", "fence", NULL};
static const char *const policies[] = {"hold", "primary-wins", "backup-wins", "arbiter", NULL};

/* In the order of enum conf_reprotect. */
static const char *const reprotects[] = {"auto", "never", NULL};

static const struct conf_key keys[] = {
	{.name = "host.name",
	 .type = CONF_NAME,
	 .dflt = "",
	 FIELD(conf, host_name),
	 .help = "This host's name, as its certificate and its peers' lists have it; empty: the system's host name."},
	{.name = "host.listen-address",
	 .type = CONF_ADDRESS,
	 .dflt = "0.0.0.0",
	 FIELD(conf, listen_address),
	 .help = "Where romulusd accepts connections of peers."},
	{.name = "host.listen-port",
	 .type = CONF_INT,
	 .min = 1,
	 .max = 65535,
	 .dflt = "7403",
	 FIELD(conf, listen_port),
	 .help = "TCP port for connections of peers."},
	{.name = "host.heartbeat-port",
	 .type = CONF_INT,
	 .min = 0,
	 .max = 65535,
	 .dflt = "0",
	 FIELD(conf, heartbeat_port),
	 .help = "First UDP port for heartbeats, for a firewall's sake; 0: any free one."},
	{.name = "host.heartbeat-ports",
	 .type = CONF_INT,
	 .min = 1,
	 .max = 4096,
	 .dflt = "64",
	 FIELD(conf, heartbeat_ports),
	 .help = "How many UDP ports from heartbeat-port on may be used, one for each VM."},
	{.name = "tls.ca",
	 .type = CONF_PATH,
	 .dflt = CONF_DIR "/ca.pem",
	 FIELD(conf, tls_ca),
	 .help = "Certificate of the authority that signed every host's certificate."},
	{.name = "tls.cert",
	 .type = CONF_PATH,
	 .dflt = CONF_DIR "/host.pem",
	 FIELD(conf, tls_cert),
	 .help = "This host's certificate."},
	{.name = "tls.key",
	 .type = CONF_PATH,
	 .dflt = CONF_DIR "/host.key",
	 FIELD(conf, tls_key),
	 .help = "This host's private key."},
	{.name = "tls.ktls",
	 .type = CONF_BOOL,
	 .dflt = "false",
	 FIELD(conf, tls_ktls),
	 .help = "Let the kernel encrypt where it can."},
	{.name = "defaults.epoch-period",
	 .type = CONF_DURATION,
	 .min = MS(5),
	 .max = SEC(10),
	 .dflt = "50ms",
	 FIELD(conf, epoch_period_ns),
	 .help = "Time between two checkpoints; what a client waits for at most, besides the transfer."},
	{.name = "defaults.heartbeat-period",
	 .type = CONF_DURATION,
	 .min = MS(10),
	 .max = SEC(10),
	 .dflt = "100ms",
	 FIELD(conf, heartbeat_period_ns),
	 .help = "Time between two heartbeats."},
	{.name = "defaults.failure-timeout",
	 .type = CONF_DURATION,
	 .min = MS(30),
	 .max = SEC(300),
	 .dflt = "1s",
	 FIELD(conf, failure_timeout_ns),
	 .help = "A peer that is silent for so long counts as lost."},
	{.name = "defaults.suspend-timeout",
	 .type = CONF_DURATION,
	 .min = MS(10),
	 .max = SEC(60),
	 .or_zero = true,
	 .dflt = "0",
	 FIELD(conf, suspend_timeout_ns),
	 .help = "How long a guest may take to suspend before the checkpoint is given up; 0: derived from the failure timeout."},
	{.name = "defaults.arena",
	 .type = CONF_SIZE,
	 .min = MIB(16),
	 .max = GIB(1024),
	 .or_zero = true,
	 .dflt = "0",
	 FIELD(conf, arena_bytes),
	 .help = "Locked memory on each side that one epoch's pages must fit in; 0: a quarter of the guest's memory."},
	{.name = "defaults.delta-cache",
	 .type = CONF_SIZE,
	 .min = MIB(1),
	 .max = GIB(1024),
	 .or_zero = true,
	 .dflt = "0",
	 FIELD(conf, delta_cache_bytes),
	 .help = "Memory on each side for pages sent before, to send differences; 0: an eighth of the guest's memory."},
	{.name = "defaults.netbuf-limit",
	 .type = CONF_SIZE,
	 .min = MIB(1),
	 .max = MIB(2047), /* the kernel's queue takes it as an int */
	 .dflt = "64MiB",
	 FIELD(conf, netbuf_limit_bytes),
	 .help = "Most output that one epoch of one network interface may hold; a checkpoint comes early at half of it. Up to four epochs are held; a small frame counts for 768 bytes."},
	{.name = "defaults.reprotect",
	 .type = CONF_ENUM,
	 .values = reprotects,
	 .dflt = "auto",
	 FIELD(conf, reprotect),
	 .help = "After a failover or a switchover the VM is protected to its former host again as soon as that is back: auto or never."},
	{.name = "arbiter.kind",
	 .type = CONF_ENUM,
	 .values = arbiters,
	 .dflt = "none",
	 FIELD(conf, arbiter_kind),
	 .help = "Who is asked before a side goes alone: none, witness, etcd or fence."},
	{.name = "arbiter.timeout",
	 .type = CONF_DURATION,
	 .min = MS(200),
	 .max = SEC(60),
	 .dflt = "2s",
	 FIELD(conf, arbiter_timeout_ns),
	 .help = "How long one question to the witness or to etcd may take, all endpoints together."},
	{.name = "arbiter.witness-name",
	 .type = CONF_NAME,
	 .dflt = "",
	 FIELD(conf, witness_name),
	 .help = "The witness's name: what its certificate must say."},
	{.name = "arbiter.witness-address",
	 .type = CONF_ADDRESS,
	 .dflt = "",
	 FIELD(conf, witness_address),
	 .help = "IP address or host name where romulus-witness listens."},
	{.name = "arbiter.witness-port",
	 .type = CONF_INT,
	 .min = 1,
	 .max = 65535,
	 .dflt = "7405",
	 FIELD(conf, witness_port),
	 .help = "TCP port where romulus-witness listens."},
	{.name = "arbiter.etcd-endpoints",
	 .type = CONF_LINES,
	 .dflt = "",
	 FIELD(conf, etcd_endpoints),
	 .help = "The members of etcd, tried in turn: a list of at most 8 texts, each https://HOST:PORT."},
	{.name = "arbiter.etcd-prefix",
	 .type = CONF_PATH,
	 .dflt = "/romulus/vm/",
	 FIELD(conf, etcd_prefix),
	 .help = "What the keys in etcd begin with; a VM's uuid follows."},
	{.name = "arbiter.etcd-ca",
	 .type = CONF_PATH,
	 .dflt = "",
	 FIELD(conf, etcd_ca),
	 .help = "Certificate of the authority that signed etcd's certificates; empty: tls.ca."},
	{.name = "arbiter.etcd-cert",
	 .type = CONF_PATH,
	 .dflt = "",
	 FIELD(conf, etcd_cert),
	 .help = "This host's certificate for etcd; empty: tls.cert."},
	{.name = "arbiter.etcd-key",
	 .type = CONF_PATH,
	 .dflt = "",
	 FIELD(conf, etcd_key),
	 .help = "This host's private key for etcd; empty: tls.key."},
	{.name = "arbiter.fence-agent",
	 .type = CONF_PATH,
	 .dflt = "",
	 FIELD(conf, fence_agent),
	 .help = "A program with the calling convention of the fence agents, such as /usr/sbin/fence_ipmilan."},
	{.name = "arbiter.fence-options",
	 .type = CONF_LINES,
	 .dflt = "",
	 FIELD(conf, fence_options),
	 .help = "What the agent is told for every peer: a list of texts, each KEY=VALUE."},
	{.name = "arbiter.fence-timeout",
	 .type = CONF_DURATION,
	 .min = SEC(1),
	 .max = SEC(600),
	 .dflt = "30s",
	 FIELD(conf, fence_timeout_ns),
	 .help = "How long the agent may take to switch the peer off and to see that it is."},
	{.name = "arbiter.fence-delay",
	 .type = CONF_DURATION,
	 .min = MS(100),
	 .max = SEC(300),
	 .or_zero = true,
	 .dflt = "5s",
	 FIELD(conf, fence_delay_ns),
	 .help = "How long the side that is the backup waits before, so that not both hosts are switched off."},
	{.name = "limits.max-unauthenticated",
	 .type = CONF_INT,
	 .min = 1,
	 .max = 256,
	 .dflt = "16",
	 FIELD(conf, max_unauthenticated),
	 .help = "Connections at a time that have not shown a valid certificate yet; at most half of them from one address (IPv6: from one /64)."},
	{.name = "limits.handshake-timeout",
	 .type = CONF_DURATION,
	 .min = MS(100),
	 .max = SEC(60),
	 .dflt = "5s",
	 FIELD(conf, handshake_timeout_ns),
	 .help = "A connection that has not shown a valid certificate by then is closed."},
	{.name = "paths.state-dir",
	 .type = CONF_PATH,
	 .dflt = STATE_DIR,
	 FIELD(conf, state_dir),
	 .help = "Durable state of each VM; must survive a reboot."},
	{.name = "paths.run-dir",
	 .type = CONF_PATH,
	 .dflt = RUN_DIR,
	 FIELD(conf, run_dir),
	 .help = "Control sockets and pid files; must be empty after a reboot."},
	{.name = "paths.vm-dir",
	 .type = CONF_PATH,
	 .dflt = CONF_DIR "/vm.d",
	 FIELD(conf, vm_dir),
	 .help = "One optional file for each VM, see below."},
	{.name = "drill.probe-dir",
	 .type = CONF_PATH,
	 .dflt = CONF_DIR "/probe.d",
	 FIELD(conf, drill_probe_dir),
	 .help = "Programs that a drill which was asked for at the primary may have as its probe, by name."},
	{.name = "drill.overlay-dir",
	 .type = CONF_PATH,
	 .dflt = STATE_DIR "/drill",
	 FIELD(conf, drill_overlay_dir),
	 .help = "Where a drill keeps what its copy writes to the disks, and what is overwritten there meanwhile."},
	{.name = "drill.overlay-limit",
	 .type = CONF_SIZE,
	 .min = MIB(1),
	 .max = GIB(16384),
	 .dflt = "4GiB",
	 FIELD(conf, drill_overlay_bytes),
	 .help = "Of that for each disk; a drill that needs more fails."},
	{.name = "log.level",
	 .type = CONF_ENUM,
	 .values = log_levels,
	 .dflt = "info",
	 FIELD(conf, log_level),
	 .help = "What is logged: err, warn, info or debug."},
};
static_assert(sizeof(keys) / sizeof(keys[0]) <= CONF_MAX_KEYS, "struct conf has no room");

static const struct conf_key peer_keys[] = {
	{.name = "name",
	 .type = CONF_NAME,
	 FIELD(conf_peer, name),
	 .help = "The peer's name: its host.name, and what its certificate must say."},
	{.name = "address",
	 .type = CONF_ADDRESS,
	 FIELD(conf_peer, address),
	 .help = "IP address or host name where its romulusd listens."},
	{.name = "port",
	 .type = CONF_INT,
	 .min = 1,
	 .max = 65535,
	 .dflt = "7403",
	 FIELD(conf_peer, port),
	 .help = "TCP port where its romulusd listens."},
	{.name = "fence-options",
	 .type = CONF_LINES,
	 .dflt = "",
	 FIELD(conf_peer, fence_options),
	 .help = "What the fence agent is told for this peer, after arbiter.fence-options: a list of texts, each KEY=VALUE."},
};

static const struct conf_key disk_keys[] = {
	{.name = "name",
	 .type = CONF_NAME,
	 FIELD(conf_disk, name),
	 .help = "What guests' configurations call it, the same on both hosts."},
	{.name = "path",
	 .type = CONF_PATH,
	 FIELD(conf_disk, path),
	 .help = "Raw file, logical volume or partition that holds the data."},
	{.name = "journal",
	 .type = CONF_PATH,
	 .dflt = "",
	 FIELD(conf_disk, journal),
	 .help = "File for what the backup holds and has not applied yet; empty: disk/NAME.journal in paths.state-dir."},
	{.name = "journal-size",
	 .type = CONF_SIZE,
	 .min = MIB(16),
	 .max = GIB(1024),
	 .dflt = "1GiB",
	 FIELD(conf_disk, journal_bytes),
	 .help = "Of the file that romulus-disk --format makes: 30 s of what the link carries; a device is taken whole."},
	{.name = "copy-rate",
	 .type = CONF_SIZE,
	 .min = MIB(1),
	 .max = GIB(16),
	 .dflt = "1GiB",
	 FIELD(conf_disk, copy_rate),
	 .help = "Bytes in a second that are read at most to copy or compare the disk."},
	{.name = "queue-limit",
	 .type = CONF_SIZE,
	 .min = MIB(16),
	 .max = GIB(64),
	 .dflt = "256MiB",
	 FIELD(conf_disk, queue_bytes),
	 .help = "Writes that the backup has not acknowledged; at the limit, further ones wait."},
	{.name = "stall-timeout",
	 .type = CONF_DURATION,
	 .min = MS(10),
	 .max = SEC(5), /* well below kernel nbd's ten seconds */
	 .dflt = "2s",
	 FIELD(conf_disk, stall_ns),
	 .help = "When writes have waited for so long, protection is left and the guest goes on."},
	{.name = "mode",
	 .type = CONF_ENUM,
	 .values = disk_modes,
	 .dflt = "memory",
	 FIELD(conf_disk, mode),
	 .help = "When the backup acknowledges an epoch: memory, flush or epoch."},
};

static const struct conf_key vm_keys[] = {
	{.name = "to",
	 .type = CONF_NAME,
	 .dflt = "",
	 FIELD(conf_vm, peer),
	 .help = "The backup host."},
	{.name = "on-peer-loss",
	 .type = CONF_WORD,
	 .values = policies,
	 .dflt = "",
	 FIELD(conf_vm, policy),
	 .help = "Who may go on alone when the other host is silent: hold, primary-wins, backup-wins or arbiter."},
	{.name = "epoch-period",
	 .type = CONF_DURATION,
	 .min = MS(5),
	 .max = SEC(10),
	 .dflt = "0",
	 FIELD(conf_vm, epoch_period_ns),
	 .help = "Instead of defaults.epoch-period."},
	{.name = "heartbeat-period",
	 .type = CONF_DURATION,
	 .min = MS(10),
	 .max = SEC(10),
	 .dflt = "0",
	 FIELD(conf_vm, heartbeat_period_ns),
	 .help = "Instead of defaults.heartbeat-period."},
	{.name = "failure-timeout",
	 .type = CONF_DURATION,
	 .min = MS(30),
	 .max = SEC(300),
	 .dflt = "0",
	 FIELD(conf_vm, failure_timeout_ns),
	 .help = "Instead of defaults.failure-timeout."},
	{.name = "reprotect",
	 .type = CONF_WORD,
	 .values = reprotects,
	 .dflt = "",
	 FIELD(conf_vm, reprotect),
	 .help = "Instead of defaults.reprotect: auto or never."},
};

const struct conf_key *conf_keys(size_t *n)
{
	*n = ARRAY_SIZE(keys);
	return keys;
}

const struct conf_key *conf_peer_keys(size_t *n)
{
	*n = ARRAY_SIZE(peer_keys);
	return peer_keys;
}

const struct conf_key *conf_disk_keys(size_t *n)
{
	*n = ARRAY_SIZE(disk_keys);
	return disk_keys;
}

const struct conf_key *conf_vm_keys(size_t *n)
{
	*n = ARRAY_SIZE(vm_keys);
	return vm_keys;
}

const struct conf_peer *conf_peer(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->n_peers; i++) {
		if (!strcmp(c->peer[i].name, name))
			return &c->peer[i];
	}
	return NULL;
}

const struct conf_disk *conf_disk(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->n_disks; i++) {
		if (!strcmp(c->disk[i].name, name))
			return &c->disk[i];
	}
	return NULL;
}

void conf_timing(const struct conf *c, struct timing *t)
{
	const struct timing_conf tc = {
		.heartbeat_period_ns = c->heartbeat_period_ns,
		.failure_timeout_ns = c->failure_timeout_ns,
		.epoch_period_ns = c->epoch_period_ns,
	};

	timing_derive(t, &tc);
	if (c->suspend_timeout_ns)
		t->suspend_timeout_ns = c->suspend_timeout_ns;
}

static uint64_t number_at(const struct conf_key *k, const char *field)
{
	uint64_t wide;
	uint16_t narrow;

	if (k->size == sizeof(narrow)) {
		memcpy(&narrow, field, sizeof(narrow));
		return narrow;
	}
	memcpy(&wide, field, sizeof(wide));
	return wide;
}

static void print_lines(const char *lines, FILE *out)
{
	char line[CONF_LINES_SIZE];

	fputs("[", out);
	for (size_t i = 0; conf_line(lines, i, line, sizeof(line)); i++)
		fprintf(out, "%s\"%s\"", i ? ", " : " ", line);
	fputs(*lines ? " ]" : "]", out);
}

static void print_value(const struct conf_key *k, const char *field, FILE *out)
{
	char buf[32];

	switch (k->type) {
	case CONF_TEXT:
	case CONF_NAME:
	case CONF_PATH:
	case CONF_ADDRESS:
	case CONF_WORD:
		fprintf(out, "\"%s\"", field);
		return;
	case CONF_LINES:
		print_lines(field, out);
		return;
	case CONF_INT:
		fprintf(out, "%" PRIu64, number_at(k, field));
		return;
	case CONF_DURATION:
		fprintf(out, "\"%s\"", conf_format_duration(number_at(k, field), buf, sizeof(buf)));
		return;
	case CONF_SIZE:
		fprintf(out, "\"%s\"", conf_format_size(number_at(k, field), buf, sizeof(buf)));
		return;
	case CONF_BOOL:
		fputs(*(const bool *)field ? "true" : "false", out);
		return;
	case CONF_ENUM:
		fprintf(out, "\"%s\"", k->values[number_at(k, field)]);
		return;
	}
}

void conf_print_keys(const char *path, const struct conf_key *k, size_t n_keys, const void *in,
		     const unsigned int *source_line, FILE *out)
{
	for (size_t i = 0; i < n_keys; i++) {
		fprintf(out, "%s = ", k[i].name);
		print_value(&k[i], (const char *)in + k[i].offset, out);
		if (source_line[i])
			fprintf(out, ";  # %s:%u\n", path, source_line[i]);
		else
			fputs(";  # default\n", out);
	}
}

void conf_print(const struct conf *c, FILE *out)
{
	conf_print_keys(c->path, keys, ARRAY_SIZE(keys), c, c->source_line, out);
	for (size_t i = 0; i < c->n_peers; i++)
		fprintf(out, "peers[%zu] = \"%s\" at %s port %u;  # %s:%u\n", i, c->peer[i].name,
			c->peer[i].address, c->peer[i].port, c->path, c->peer[i].line);
	for (size_t i = 0; i < c->n_disks; i++)
		fprintf(out, "disks[%zu] = \"%s\" at %s;  # %s:%u\n", i, c->disk[i].name,
			c->disk[i].path, c->path, c->disk[i].line);
}
