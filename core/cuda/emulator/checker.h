#pragma once
#include <cstddef>
#include <cstdint>

/// The race, bounds, alignment and initialisation checker, as the runtime sees it. Only the check flavour
/// (VITRINE_CHECK) compiles and calls it; there, kernels are compiled with -fsanitize=thread, and checker.cpp defines
/// the functions which the compiler then calls before each memory access.
namespace vitrine::emulator::checker {

#if defined(VITRINE_CHECK)
inline constexpr bool kOn = true;
#else
inline constexpr bool kOn = false;
#endif

/// What happens to memory, for note().
enum class Kind { read, write, atomic_read, atomic_write };

// Calls of the runtime, all in the order of the emulated program.
void begin_launch(const void* arguments, size_t argument_bytes);
void end_launch();
void begin_block();
/// Stops and resumes checking around the shim's own work in instrumented code.
void pause(bool on);
/// All threads of the block have met.
void barrier();
/// The lanes of `members` of one warp have met in __syncwarp.
void sync_warp(int warp, unsigned members);
/// A shared array of the current block; `key` names its declaration.
void add_shared(const void* key, char* begin, size_t arena_offset, size_t bytes, const char* name);
/// A block of device memory comes and goes.
void add_device(void* begin, size_t bytes);
void remove_device(void* begin);

/// Checks one access of the running thread; `code` is the address it comes from, `aligned` whether the address must be
/// a multiple of `bytes`. Does nothing outside of kernels.
void note(const void* address, size_t bytes, Kind kind, const void* code, bool aligned);

}  // namespace vitrine::emulator::checker
