// Arena: the memory that requests are read into.
//
// 64 slots of 1 MiB + 4 KiB in one anonymous mapping. A request starts kRequestOffset bytes into its slot, so that the
// payload of a WRITE (behind 40 bytes of header and 40 of fuse_write_in) is page-aligned.
//
// Lifetime: shared by the Connection and by the ArrayBuffer that shows it to JS; unmapped when both are gone. So JS may
// keep looking at a slot after the connection ended.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hawser {

constexpr size_t kSlotCount = 64;
constexpr size_t kPageBytes = 4096;
constexpr size_t kMaxWriteBytes = 1024 * 1024;
constexpr size_t kSlotBytes = kMaxWriteBytes + kPageBytes;
constexpr size_t kWriteHeaderBytes = 80;
constexpr size_t kRequestOffset = kPageBytes - kWriteHeaderBytes;
constexpr size_t kRequestBytes = kSlotBytes - kRequestOffset;

class Arena {
 public:
  Arena();  // throws std::bad_alloc
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  uint8_t* data() const { return data_; }
  static constexpr size_t size() { return kSlotCount * kSlotBytes; }
  uint8_t* request(uint32_t slot) const { return data_ + slot * kSlotBytes + kRequestOffset; }

 private:
  uint8_t* data_;
};

}  // namespace hawser
