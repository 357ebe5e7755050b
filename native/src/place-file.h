// A file written whole under another name and then given its own.
#pragma once

#include <napi.h>

namespace hawser {

void DefinePlaceFile(Napi::Env env, Napi::Object exports);

}  // namespace hawser
