// CRC64NVME, reflected polynomial 0x9A6C9329AC4BC9B5.
//
// Folding: 16 bytes of message, as a polynomial, may be replaced by any congruent to them modulo P. So four lanes of 16
// bytes step through the message 64 bytes at a time: each lane times x^512 mod P, xor the next 64 bytes. At the end the
// lanes are folded into one, whose 16 bytes are summed by table.
//
// Bits are reflected: the lowest bit is the highest power, the first 8 bytes of a lane are its high half, and a
// carry-less product of two reflected words comes out times x. Hence the constants x^(n-1) and x^(n+64-1), which are
// computed, not quoted.

#include "checksum.h"

#include <cstring>

#if defined(__x86_64__)
#include <emmintrin.h>
#include <wmmintrin.h>
#define HAWSER_CLMUL_TARGET __attribute__((target("pclmul,sse4.1")))
#elif defined(__aarch64__)
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define HAWSER_CLMUL_TARGET __attribute__((target("+crypto")))
#endif

namespace hawser {

namespace {

constexpr uint64_t kPolynomial = 0x9a6c9329ac4bc9b5;

struct Tables {
  uint64_t of[8][256];  // slicing by 8
  Tables() {
    for (uint32_t byte = 0; byte < 256; byte++) {
      uint64_t crc = byte;
      for (int bit = 0; bit < 8; bit++) crc = (crc & 1) ? (crc >> 1) ^ kPolynomial : crc >> 1;
      of[0][byte] = crc;
    }
    for (int slice = 1; slice < 8; slice++) {
      for (int byte = 0; byte < 256; byte++) {
        const uint64_t before = of[slice - 1][byte];
        of[slice][byte] = (before >> 8) ^ of[0][before & 0xff];
      }
    }
  }
};

uint64_t ByTable(uint64_t crc, const uint8_t* data, size_t length) {
  static const Tables tables;
  for (; length >= 8; data += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, data, sizeof word);
    word ^= crc;
    crc = 0;
    for (int i = 0; i < 8; i++) crc ^= tables.of[7 - i][(word >> (8 * i)) & 0xff];
  }
  for (size_t i = 0; i < length; i++) crc = (crc >> 8) ^ tables.of[0][(crc ^ data[i]) & 0xff];
  return crc;
}

#if defined(HAWSER_CLMUL_TARGET)

// x^n mod P, reflected.
uint64_t PowerOfX(unsigned n) {
  uint64_t value = uint64_t{1} << 63;
  while (n-- > 0) value = (value & 1) ? (value >> 1) ^ kPolynomial : value >> 1;
  return value;
}

// What multiplies a lane by x^bits.
struct Multiplier {
  uint64_t first;   // for the lane's first 8 bytes
  uint64_t second;  // for its last 8
  explicit Multiplier(unsigned bits) : first(PowerOfX(bits + 64 - 1)), second(PowerOfX(bits - 1)) {}
};

#if defined(__x86_64__)
using Lane = __m128i;
HAWSER_CLMUL_TARGET inline Lane Load(const uint8_t* data) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(data));
}
HAWSER_CLMUL_TARGET inline void Store(uint8_t* data, Lane lane) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(data), lane);
}
HAWSER_CLMUL_TARGET inline Lane Xor(Lane a, Lane b) { return _mm_xor_si128(a, b); }
HAWSER_CLMUL_TARGET inline Lane FirstHalf(uint64_t value) {
  return _mm_set_epi64x(0, static_cast<long long>(value));
}
HAWSER_CLMUL_TARGET inline Lane Times(Lane lane, const Multiplier& by) {
  const __m128i k = _mm_set_epi64x(static_cast<long long>(by.second), static_cast<long long>(by.first));
  return _mm_xor_si128(_mm_clmulepi64_si128(lane, k, 0x00), _mm_clmulepi64_si128(lane, k, 0x11));
}
#else
using Lane = uint64x2_t;
HAWSER_CLMUL_TARGET inline Lane Load(const uint8_t* data) { return vreinterpretq_u64_u8(vld1q_u8(data)); }
HAWSER_CLMUL_TARGET inline void Store(uint8_t* data, Lane lane) { vst1q_u8(data, vreinterpretq_u8_u64(lane)); }
HAWSER_CLMUL_TARGET inline Lane Xor(Lane a, Lane b) { return veorq_u64(a, b); }
HAWSER_CLMUL_TARGET inline Lane FirstHalf(uint64_t value) { return vsetq_lane_u64(value, vdupq_n_u64(0), 0); }
HAWSER_CLMUL_TARGET inline Lane Times(Lane lane, const Multiplier& by) {
  const poly128_t first = vmull_p64(vgetq_lane_u64(lane, 0), by.first);
  const poly128_t second = vmull_p64(vgetq_lane_u64(lane, 1), by.second);
  return veorq_u64(vreinterpretq_u64_p128(first), vreinterpretq_u64_p128(second));
}
#endif

HAWSER_CLMUL_TARGET uint64_t ByFolding(uint64_t crc, const uint8_t* data, size_t length) {
  static const Multiplier by512(512), by128(128);
  if (length < 128) return ByTable(crc, data, length);
  Lane lanes[4];
  for (int i = 0; i < 4; i++) lanes[i] = Load(data + 16 * i);
  lanes[0] = Xor(lanes[0], FirstHalf(crc));
  data += 64;
  length -= 64;
  for (; length >= 64; data += 64, length -= 64) {
    for (int i = 0; i < 4; i++) lanes[i] = Xor(Times(lanes[i], by512), Load(data + 16 * i));
  }
  Lane folded = lanes[0];
  for (int i = 1; i < 4; i++) folded = Xor(Times(folded, by128), lanes[i]);
  uint8_t rest[16];
  Store(rest, folded);
  return ByTable(ByTable(0, rest, sizeof rest), data, length);
}

bool HasInstruction() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
#else
  return (getauxval(AT_HWCAP) & HWCAP_PMULL) != 0;
#endif
}

#endif

}  // namespace

uint64_t Crc64Nvme(const uint8_t* data, size_t length, uint64_t previous) {
  const uint64_t start = ~previous;
#if defined(HAWSER_CLMUL_TARGET)
  static const bool hasInstruction = HasInstruction();
  if (hasInstruction) return ~ByFolding(start, data, length);
#endif
  return ~ByTable(start, data, length);
}

}  // namespace hawser
