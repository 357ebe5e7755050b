// Memory: where JS's buffers lie.
#pragma once

#include <napi.h>

namespace hawser {

void DefineMemory(Napi::Env env, Napi::Object exports);

}  // namespace hawser
