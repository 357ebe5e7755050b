#include "arena.h"

#include <sys/mman.h>
#include <new>

namespace hawser {

// NORESERVE and never touched up front: slots are handed out last-in first-out, so a quiet mount holds a few pages.
Arena::Arena() {
  void* memory = mmap(nullptr, size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<uint8_t*>(memory);
}

Arena::~Arena() { munmap(data_, size()); }

}  // namespace hawser
