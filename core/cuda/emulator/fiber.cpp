#include "core/cuda/emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "core/error.h"
#include "core/sanitizer.h"

namespace vitrine::emulator {

namespace {
constexpr size_t kPageBytes = 4096;  // at least; only spreads addresses
}

#if !defined(VITRINE_FIBER_UCONTEXT)
// Saves the callee-saved registers on the stack, stores the stack pointer through the first argument, and continues at
// the stack pointer in the second.
extern "C" void vitrine_fiber_switch(void** save, void* load);
#if defined(__x86_64__)
constexpr int kFrameWords = 8;  // 6 registers, the address to return to, and a zero as the caller of `start`
constexpr int kReturnWord = 6;
asm(R"(
.text
.globl vitrine_fiber_switch
.hidden vitrine_fiber_switch
.type vitrine_fiber_switch, @function
vitrine_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size vitrine_fiber_switch, .-vitrine_fiber_switch
)");
#else
constexpr int kFrameWords = 20;  // x19 to x30, d8 to d15
constexpr int kReturnWord = 11;  // x30, the link register
asm(R"(
.text
.globl vitrine_fiber_switch
.hidden vitrine_fiber_switch
.type vitrine_fiber_switch, %function
vitrine_fiber_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size vitrine_fiber_switch, .-vitrine_fiber_switch
)");
#endif
#endif

namespace {
thread_local Fiber* entering = nullptr;  // the fiber that a switch goes to
thread_local Fiber* leaving = nullptr;   // and the one it comes from
}  // namespace

char* map_pages(size_t bytes, const char* purpose) {
  void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  check<OutOfMemory>(map != MAP_FAILED, "out of memory on emulated: asked for {} bytes for {}", bytes, purpose);
  return static_cast<char*>(map);
}

Fiber::Fiber(size_t bytes, void (*entry)()) : entry_(entry) {
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  bytes_ = (bytes + page - 1) / page * page;
  char* const map = map_pages(bytes_ + page, "the stack of a thread");
  mprotect(map, page, PROT_NONE);
  low_ = map + page;
  reset();
}

Fiber::~Fiber() {
  if (!entry_) return;
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  munmap(low_ - page, bytes_ + page);
}

void Fiber::reset() {
  sanitizer::unpoison(low_, bytes_);
  asan_ = nullptr;
#if defined(VITRINE_FIBER_UCONTEXT)
  getcontext(&context_);
  context_.uc_stack.ss_sp = low_;
  context_.uc_stack.ss_size = bytes_;
  context_.uc_link = nullptr;
  makecontext(&context_, &Fiber::start, 0);
#else
  // Stacks start at different offsets in their pages, or their tops would all fall into the same few cache sets.
  const uintptr_t page_number = reinterpret_cast<uintptr_t>(low_) / kPageBytes;
  const size_t offset = page_number * 0x9E3779B97F4A7C15 >> 58 << 6;  // 0 to 63 lines of 64 bytes
  void** frame = reinterpret_cast<void**>(low_ + bytes_ - offset) - kFrameWords;
  for (int i = 0; i < kFrameWords; ++i) frame[i] = nullptr;
  frame[kReturnWord] = reinterpret_cast<void*>(&Fiber::start);
  stack_pointer_ = frame;
#endif
}

void Fiber::start() {
  entering->arrived();
  entering->entry_();
}

void Fiber::arrived() {
  const void* low = nullptr;
  size_t bytes = 0;
  sanitizer::finish_switch(asan_, &low, &bytes);
  if (low && !leaving->entry_) {
    leaving->low_ = static_cast<char*>(const_cast<void*>(low));
    leaving->bytes_ = bytes;
  }
}

void Fiber::transfer(Fiber& from, Fiber& to) {
  leaving = &from;
  entering = &to;
  sanitizer::start_switch(&from.asan_, to.low_, to.bytes_);
#if defined(VITRINE_FIBER_UCONTEXT)
  swapcontext(&from.context_, &to.context_);
#else
  vitrine_fiber_switch(&from.stack_pointer_, to.stack_pointer_);
#endif
  from.arrived();
}

}  // namespace vitrine::emulator
