// CRC32C (Castagnoli), reflected polynomial 0x82F63B78.
//
// The instruction takes 3 cycles but a new one can begin each cycle, so three neighbouring stretches are summed at once
// and joined: the sum of A followed by |B| zero bytes, xor the sum of B. "Followed by zeros" is a linear map of 32 bits,
// kept as four tables of 256 for the two stretch lengths in use.

#include "checksum.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define HAWSER_CRC32C_TARGET __attribute__((target("sse4.2")))
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define HAWSER_CRC32C_TARGET __attribute__((target("+crc")))
#endif

namespace hawser {

namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;

struct ByteTable {
  uint32_t of[256];
  ByteTable() {
    for (uint32_t byte = 0; byte < 256; byte++) {
      uint32_t crc = byte;
      for (int bit = 0; bit < 8; bit++) crc = (crc & 1) ? (crc >> 1) ^ kPolynomial : crc >> 1;
      of[byte] = crc;
    }
  }
};

const ByteTable& Table() {
  static const ByteTable table;
  return table;
}

uint32_t ByTable(uint32_t crc, const uint8_t* data, size_t length) {
  const ByteTable& table = Table();
  for (size_t i = 0; i < length; i++) crc = (crc >> 8) ^ table.of[(crc ^ data[i]) & 0xff];
  return crc;
}

#if defined(HAWSER_CRC32C_TARGET)

constexpr size_t kLong = 8192;
constexpr size_t kShort = 256;

// The map "followed by N zero bytes".
class ZerosTable {
 public:
  explicit ZerosTable(size_t zeros) {
    uint32_t columns[32];
    for (int bit = 0; bit < 32; bit++) {
      uint32_t crc = 1u << bit;
      for (size_t i = 0; i < zeros; i++) crc = (crc >> 8) ^ Table().of[crc & 0xff];
      columns[bit] = crc;
    }
    for (uint32_t group = 0; group < 4; group++) {
      for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = 0;
        for (uint32_t bit = 0; bit < 8; bit++) {
          if (byte & (1u << bit)) crc ^= columns[group * 8 + bit];
        }
        of_[group][byte] = crc;
      }
    }
  }
  uint32_t Apply(uint32_t crc) const {
    return of_[0][crc & 0xff] ^ of_[1][(crc >> 8) & 0xff] ^ of_[2][(crc >> 16) & 0xff] ^ of_[3][crc >> 24];
  }

 private:
  uint32_t of_[4][256];
};

HAWSER_CRC32C_TARGET inline uint64_t Step(uint64_t crc, const uint8_t* data) {
  uint64_t word;
  memcpy(&word, data, sizeof word);
#if defined(__x86_64__)
  return _mm_crc32_u64(crc, word);
#else
  return __crc32cd(static_cast<uint32_t>(crc), word);
#endif
}

template <size_t kStretch>
HAWSER_CRC32C_TARGET uint64_t ThreeStretches(uint64_t crc, const uint8_t** data, size_t* length,
                                             const ZerosTable& zeros) {
  while (*length >= 3 * kStretch) {
    const uint8_t* at = *data;
    uint64_t first = crc, second = 0, third = 0;
    for (const uint8_t* end = at + kStretch; at < end; at += 8) {
      first = Step(first, at);
      second = Step(second, at + kStretch);
      third = Step(third, at + 2 * kStretch);
    }
    crc = zeros.Apply(static_cast<uint32_t>(first)) ^ second;
    crc = zeros.Apply(static_cast<uint32_t>(crc)) ^ third;
    *data += 3 * kStretch;
    *length -= 3 * kStretch;
  }
  return crc;
}

HAWSER_CRC32C_TARGET uint32_t ByInstruction(uint32_t start, const uint8_t* data, size_t length) {
  static const ZerosTable longZeros(kLong), shortZeros(kShort);
  uint64_t crc = ThreeStretches<kLong>(start, &data, &length, longZeros);
  crc = ThreeStretches<kShort>(crc, &data, &length, shortZeros);
  for (; length >= 8; data += 8, length -= 8) crc = Step(crc, data);
  return ByTable(static_cast<uint32_t>(crc), data, length);
}

bool HasInstruction() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("sse4.2");
#else
  return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#endif
}

#endif

}  // namespace

uint32_t Crc32c(const uint8_t* data, size_t length, uint32_t previous) {
  const uint32_t start = ~previous;
#if defined(HAWSER_CRC32C_TARGET)
  static const bool hasInstruction = HasInstruction();
  if (hasInstruction) return ~ByInstruction(start, data, length);
#endif
  return ~ByTable(start, data, length);
}

}  // namespace hawser
