#pragma once

namespace vitrine::trace {

/// Called with a kernel's name before each launch of this thread, if set. core/trace sets it while it records.
inline thread_local void (*kernel_hook)(const char* name) = nullptr;

}  // namespace vitrine::trace
