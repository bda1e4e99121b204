/*
 * Lets keepalived's checkers run on a kernel without IPVS: preloaded, it answers the socket
 * options of ipvsadm's old interface (<linux/ip_vs.h>) with success and an empty table, and
 * hands every other option on. For measuring checks only; nothing is balanced.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { FIRST = 64 + 1024 + 64, INFO = FIRST + 1, LAST = FIRST + 31 };

struct info {
	uint32_t version, size, services;
};

typedef int (*getter)(int, int, int, void *, socklen_t *);
typedef int (*setter)(int, int, int, const void *, socklen_t);

static int is_ipvs(int level, int name)
{
	return level == IPPROTO_IP && name >= FIRST && name <= LAST;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	static const struct info info = { 0x010201, 4096, 0 };

	if (!is_ipvs(level, name))
		return ((getter)dlsym(RTLD_NEXT, "getsockopt"))(fd, level, name, value, size);
	memset(value, 0, *size);
	if (name == INFO && *size >= sizeof info)
		memcpy(value, &info, sizeof info);
	return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	if (!is_ipvs(level, name))
		return ((setter)dlsym(RTLD_NEXT, "setsockopt"))(fd, level, name, value, size);
	return 0;
}
