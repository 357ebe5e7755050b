// Reading what lies in the page cache.
#pragma once

#include <napi.h>

namespace hawser {

void DefineCachedRead(Napi::Env env, Napi::Object exports);

}  // namespace hawser
