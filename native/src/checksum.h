// Checksums that S3 knows, at memory speed: CRC32C by the CPU's instruction, CRC64NVME by carry-less multiply, both by
// table where the CPU has neither. All are incremental: `previous` is the result so far, 0 at the start.
#pragma once

#include <napi.h>
#include <cstddef>
#include <cstdint>

namespace hawser {

uint32_t Crc32c(const uint8_t* data, size_t length, uint32_t previous);
uint64_t Crc64Nvme(const uint8_t* data, size_t length, uint64_t previous);

}  // namespace hawser
