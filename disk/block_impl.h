/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of the block server and by nobody else: see block_server.h. */
#ifndef DISK_BLOCK_IMPL_H
#define DISK_BLOCK_IMPL_H

#include <sys/types.h>

#include "disk/blk_io.h"
#include "disk/block_server.h"
#include "disk/buf_pool.h"
#include "disk/nbd_hello.h"
#include "disk/range_lock.h"
#include "disk/write_sink.h"

#define BLOCK_RX_SIZE (64u << 10)
static_assert(BLOCK_RX_SIZE >= 2 * NBDHELLO_NEED_MAX, "an option fits");

enum place_state {
	PLACE_FREE,
	PLACE_FILLING, /* its data is being received */
	PLACE_PARKED,
	PLACE_BLOCKED, /* an earlier write overlaps */
	PLACE_WAITING, /* for the sink */
	PLACE_ON_DISK, /* admitted; there, or in the queue for it */
	PLACE_HELD,
	PLACE_REPLY, /* in the queue of its connection */
};
#define PLACE_STATES (PLACE_REPLY + 1)

/* One request. */
struct place {
	enum place_state state;
	struct session *session;
	struct place *next; /* in the queue that its state says */
	struct nbdwire_request rq;
	struct blk_req blk;
	struct range range;
	struct write_req write;
	uint64_t arrived_ns;
	void *buf;
	int rc; /* what the disk said */
	uint8_t reply[NBDWIRE_REPLY_SIZE];
	uint32_t reply_data; /* bytes of buf that follow it */
};

struct place_queue {
	struct place *first;
	struct place *last;
};

enum session_state {
	SESSION_FREE,
	SESSION_HELLO,	 /* handshake */
	SESSION_GREETED, /* what is left to be said of it, then serving */
	SESSION_SERVING,
	SESSION_LEAVING, /* reads nothing more; answers what is under way, then closes */
	SESSION_CLOSED,	 /* nobody there; waits for what is on the disk */
};

/* One connection. */
struct session {
	struct block_server *server;
	enum session_state state;
	bool is_kernel;
	bool asked;	 /* it said NBD_CMD_DISC */
	bool stalled;	 /* no place or buffer for the next request: nothing is read */
	bool freed;	 /* ... but some were given back since */
	bool forgetting; /* what has not been admitted shall not be any more */
	int fd;
	uint32_t events; /* what epoll watches */

	struct nbdhello hello;
	size_t hello_sent;

	uint8_t *rx; /* [rx_at, rx_end) is there */
	size_t rx_at;
	size_t rx_end;
	struct place *filling; /* gets the data that comes next, or the error once it is skipped */
	uint32_t filled;
	uint32_t skip; /* bytes of data to pass over */
	enum nbdwire_error skip_error;

	struct place_queue tx;
	size_t tx_sent; /* of the first */

	struct place *places;
	unsigned int n_places;
	unsigned int n_busy;
	struct place *free; /* by next */
	struct buf_pool pool;
};

struct block_server {
	struct blk_dev *blk;
	struct nbdwire_export export;
	void (*kernel_gone)(void *arg, bool asked);
	void *arg;
	struct write_sink *sink;
	int epoll_fd;
	int kick_fd; /* there is something to do that no descriptor tells */
	int listen_fd;
	bool listen_paused; /* accept() found no memory or descriptor */
	char listen_path[108];
	bool is_parked;
	bool refuses; /* what is parked */
	bool stopping;
	bool answer_held;
	bool woken; /* the sink would admit again */
	struct range_lock ranges;
	struct place_queue parked;
	struct place_queue waiting;
	struct place_queue to_disk;
	struct place_queue held;
	unsigned int count[PLACE_STATES];
	struct block_stats stats;
	struct session kernel;
	struct session client[BLOCK_MAX_CLIENTS];
};

/* What epoll tells us; sessions are the kernel's and then the clients'. */
enum block_source {
	BLOCK_SRC_KICK,
	BLOCK_SRC_DISK,
	BLOCK_SRC_LISTEN,
	BLOCK_SRC_SESSION,
};

/* block_request.c: from arrival to the queue of the connection. */

void place_move(struct place *p, enum place_state state);
void place_push(struct place_queue *q, struct place *p);
struct place *place_pop(struct place_queue *q);
void place_remove(struct place_queue *q, struct place *p);
/* Complete and checked. */
void request_arrived(struct place *p);
/* Refused: is answered with the error. */
void request_refuse(struct place *p, enum nbdwire_error error);
/* Its connection is gone. Nothing is left of it, unless it is on the disk. */
void request_forget(struct place *p);
/* Everything that can go on does. */
void requests_go_on(struct block_server *s);

/* block_session.c: one connection. */

/* Its memory. 0 or -ENOMEM. */
MUST_CHECK int session_init(struct session *ss, struct block_server *s, bool is_kernel);
void session_fini(struct session *ss);
/* fd becomes the session's. 0 or what epoll said. */
MUST_CHECK int session_start_take(struct session *ss, int fd, bool with_handshake);
void session_on_event(struct session *ss, uint32_t events);
/* Sends what it has, and reads on where it had stalled. */
void session_go_on(struct session *ss);
void session_close(struct session *ss);
void session_leave(struct session *ss);
/* A place is free again. */
void session_put_place(struct place *p);

/* block_listen.c */

void listen_on_event(struct block_server *s);
/* Tries again where it had paused. */
void listen_go_on(struct block_server *s);
void listen_stop(struct block_server *s);

/* block_server.c */

void server_kick(struct block_server *s);
MUST_CHECK int server_watch(struct block_server *s, int fd, uint32_t events, uint64_t source);
uint64_t server_source_of(const struct session *ss);

#endif
