/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See epoch_word.h. Set-up only; the word itself is in the header. */
#include "disk/epoch_word.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"

/* "RMLSEPOC" read as a number; another version of the page gets another one. */
#define EPOCH_WORD_MAGIC UINT64_C(0x434f5045534c4d52)
/* Without the first a worker could make our load a SIGBUS, without the last undo the others. */
#define SEALS_WANTED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static int page_map(struct epoch_word *w, int fd, int prot, struct err *e)
{
	void *p = mmap(NULL, EPOCH_WORD_SIZE, prot, MAP_SHARED | MAP_POPULATE, fd, 0);

	if (p == MAP_FAILED)
		return err_set(e, -errno, "map the epoch word");
	w->page = p;
	return 0;
}

int epoch_word_create(struct epoch_word *w, int *fd_out, struct err *e)
{
	autofd fd = memfd_create("romulus-epoch", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	*w = EPOCH_WORD_INIT;
	if (fd < 0)
		return err_set(e, -errno, "make the epoch word");
	if (ftruncate(fd, EPOCH_WORD_SIZE) < 0)
		return err_set(e, -errno, "make the epoch word: %d bytes", EPOCH_WORD_SIZE);
	rc = page_map(w, fd, PROT_READ | PROT_WRITE, e);
	if (rc < 0)
		return rc;
	w->page->magic = EPOCH_WORD_MAGIC;
	epoch_word_store(w, 0);
	/* After our own mapping: the seal against writing lets that one be. */
	if (fcntl(fd, F_ADD_SEALS, SEALS_WANTED | F_SEAL_FUTURE_WRITE) < 0) {
		rc = err_set(e, -errno, "seal the epoch word");
		epoch_word_fini(w);
		return rc;
	}
	*fd_out = take_fd(&fd);
	return 0;
}

int epoch_word_map(struct epoch_word *w, int fd, struct err *e)
{
	struct stat st;
	int seals;
	int rc;

	*w = EPOCH_WORD_INIT;
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "look at the epoch word");
	if (!S_ISREG(st.st_mode) || st.st_size != EPOCH_WORD_SIZE)
		return err_setx(e, -EBADMSG, "the epoch word has %lld bytes; %d are right",
				(long long)st.st_size, EPOCH_WORD_SIZE);
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS_WANTED) != SEALS_WANTED)
		return err_setx(e, -EBADMSG, "the epoch word could be cut off: its seals are %#x",
				seals < 0 ? 0U : (unsigned int)seals);
	rc = page_map(w, fd, PROT_READ, e);
	if (rc < 0)
		return rc;
	if (w->page->magic == EPOCH_WORD_MAGIC)
		return 0;
	rc = err_setx(e, -EBADMSG, "the epoch word is of another version: %#llx",
		      (unsigned long long)w->page->magic);
	epoch_word_fini(w);
	return rc;
}

void epoch_word_fini(struct epoch_word *w)
{
	if (w->page)
		(void)munmap(w->page, EPOCH_WORD_SIZE);
	*w = EPOCH_WORD_INIT;
}
