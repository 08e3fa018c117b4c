/* The hash of Berkeley DB 1.85 as 4.4BSD's ndbm opens it, fed with pairs from standard input.
 *
 *     hash185 FILE [PAGE [ORDER]] < pairs      pairs: u32 key, u32 value, the bytes of both
 *
 * A key's length with its top bit set deletes the key. Built on Linux from the files hash.c,
 * hash_bigkey.c, hash_buf.c, hash_func.c, hash_log2.c and hash_page.c of newlib 3.3.0 (folder
 * newlib/libc/search, of FreeBSD), whose few names of its own C library are defined here:
 *
 *     touch reent.h _ansi.h sys/config.h
 *     gcc -w -std=gnu89 -D_REENT=0 -I. -include hash185.c -c hash*.c   (with -DMAIN for this file)
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define __uint16_t uint16_t
#define __uint32_t uint32_t
#define EFTYPE 79
#define _stat_r(reent, file, found) stat(file, found)
#define _fstat_r(reent, file, found) fstat(file, found)

#ifdef MAIN
#include "db_local.h"

extern DB *__hash_open(const char *, int, int, int, const HASHINFO *);

int main(int count, char **given)
{
	HASHINFO info = {count > 2 ? atoi(given[2]) : 4096, 40, 1, 0, NULL, count > 3 ? atoi(given[3]) : 0};
	DB *db = __hash_open(given[1], O_RDWR | O_CREAT | O_TRUNC, 0644, 0, &info);
	uint32_t sizes[2];

	if (db == NULL)
		return 1;
	while (fread(sizes, 4, 2, stdin) == 2) {
		int is_deleted = sizes[0] >> 31;
		DBT key = {malloc(1 << 20), sizes[0] & 0x7fffffff}, value = {malloc(1 << 20), sizes[1]};

		fread(key.data, 1, key.size, stdin);
		fread(value.data, 1, value.size, stdin);
		if (is_deleted ? db->del(db, &key, 0) : db->put(db, &key, &value, 0))
			return 2;
	}
	return db->close(db);
}
#endif
