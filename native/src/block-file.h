// BlockFile: blocks of a cache file, written and checksummed in one go.
#pragma once

#include <napi.h>

namespace hawser {

void DefineBlockFile(Napi::Env env, Napi::Object exports);

}  // namespace hawser
