/* machine.h: what this machine has. No state. */
#ifndef PICTOR_SERVER_MACHINE_H
#define PICTOR_SERVER_MACHINE_H

#include <stdint.h>

/* Bytes of memory, or of those that the container may use. Reads a file. */
uint64_t machine_memory(void);

#endif
