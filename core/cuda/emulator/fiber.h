#pragma once
#include <cstddef>

#if !defined(VITRINE_FIBER_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define VITRINE_FIBER_UCONTEXT
#endif
#if defined(VITRINE_FIBER_UCONTEXT)
#include <ucontext.h>
#endif

namespace vitrine::emulator {

/// `bytes` bytes of pages of the host that take no memory before they are used; munmap returns them.
/// @throws OutOfMemory that names `purpose`
char* map_pages(size_t bytes, const char* purpose);

/// A stack that can be left and entered again. Switching costs a few nanoseconds (own assembly on x86-64 and AArch64,
/// a system call with the portable ucontext form). Floating-point control words are not saved: kernels do not set them.
class Fiber {
 public:
  /// Stands for the stack that is running already.
  Fiber() = default;
  /// A new stack of `bytes` bytes with an inaccessible page below, on which `entry` will run. `entry` never returns.
  /// @throws OutOfMemory
  Fiber(size_t bytes, void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Forgets what ran here: the next switch enters `entry` again.
  void reset();
  bool on_stack(const void* pointer) const {
    return static_cast<const char*>(pointer) >= low_ && static_cast<const char*>(pointer) < low_ + bytes_;
  }

  /// Leaves `from`, which is running, for `to`. Returns when someone switches back.
  static void transfer(Fiber& from, Fiber& to);

 private:
  static void start();
  void arrived();

  char* low_ = nullptr;  // lowest usable byte of the stack
  size_t bytes_ = 0;
  void (*entry_)() = nullptr;
  void* asan_ = nullptr;  // the address sanitizer's record of the stack while it is not running
#if defined(VITRINE_FIBER_UCONTEXT)
  ucontext_t context_;
#else
  void* stack_pointer_ = nullptr;
#endif
};

}  // namespace vitrine::emulator
