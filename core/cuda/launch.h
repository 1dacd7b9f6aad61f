#pragma once
#include <array>
#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "core/cuda/device.h"
#include "core/cuda/kernel_hook.h"
#include "core/cuda/stream.h"
#include "core/error.h"
#if defined(__CUDACC__)
#include <cstdlib>
#endif

namespace vitrine::cuda {
inline namespace VITRINE_WORLD {

/// One to three extents, from integers of any type or from a dim3.
struct Extent {
  int64_t x = 1, y = 1, z = 1;
  template <std::integral X>
  constexpr Extent(X x_) : x(int64_t(x_)) {}
  template <std::integral X, std::integral Y>
  constexpr Extent(X x_, Y y_) : x(int64_t(x_)), y(int64_t(y_)) {}
  template <std::integral X, std::integral Y, std::integral Z>
  constexpr Extent(X x_, Y y_, Z z_) : x(int64_t(x_)), y(int64_t(y_)), z(int64_t(z_)) {}
  constexpr Extent(dim3 d) : x(d.x), y(d.y), z(d.z) {}
};

/// A number of bytes, from an integer of any type.
struct Bytes {
  int64_t count;
  template <std::integral I>
  constexpr Bytes(I count_) : count(int64_t(count_)) {}
};

/// How a kernel is launched: blocks, threads per block, bytes of dynamic shared memory.
struct LaunchShape {
  Extent grid;
  Extent block;
  Bytes shared = 0;
};

namespace launch_detail {

/// Argument I of a kernel.
template <size_t I, class T>
struct Slot {
  T value;
};
/// All of them. (A std::tuple may not be copied as bytes, and takes longer to compile.)
template <class I, class... T>
struct Slots;
template <size_t... I, class... T>
struct Slots<std::index_sequence<I...>, T...> : Slot<I, T>... {
  template <class... P>
  void call(void (*kernel)(P...)) const {
    kernel(Slot<I, T>::value...);
  }
  std::array<void*, sizeof...(T) + 1> pointers() { return {&static_cast<Slot<I, T>&>(*this).value...}; }
};

}  // namespace launch_detail

#if defined(__CUDACC__)
inline void check_launch(cudaError_t status, const char* name, const char* when) {
  if (status != cudaSuccess) throw CudaError(std::string(name) + ": " + when + ": " + cudaGetErrorString(status));
}
#endif

/// Starts `kernel` on the current stream. The arguments are converted to the kernel's parameter types and copied.
/// An empty grid is no work and no error.
///
/// @param name   what traces and errors call the kernel; must outlive the program (a literal)
/// @param shape  grid y and z at most 65535, at most 1024 threads per block, at most 227 KiB of shared memory in all
/// @throws CudaError if the launch is refused. A fault of the kernel itself appears later, at some other call; with
///         VITRINE_SYNC=1 in the environment each launch waits, and its own fault is thrown here. On the emulated
///         device every launch waits and throws its own fault.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), LaunchShape shape, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "launch: one argument for each parameter of the kernel");
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  if (trace::kernel_hook) trace::kernel_hook(name);
  using Values = launch_detail::Slots<std::index_sequence_for<P...>, std::remove_cv_t<P>...>;
#if defined(__CUDACC__)
  Values values{{static_cast<P>(std::forward<A>(args))}...};
  const auto start = [&] {
    const dim3 grid(unsigned(shape.grid.x), unsigned(shape.grid.y), unsigned(shape.grid.z));
    const dim3 block(unsigned(shape.block.x), unsigned(shape.block.y), unsigned(shape.block.z));
    return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, values.pointers().data(),
                            size_t(shape.shared.count), static_cast<cudaStream_t>(current_stream()));
  };
  if (shape.grid.x >> 31 || shape.grid.y >> 31 || shape.grid.z >> 31) {
    throw CudaError(std::string(name) + ": launch: the grid is too large");
  }
  // A kernel may use 48 KiB unasked, static arrays included; asking for a smaller amount than that does no harm.
  if (shape.shared.count > (8 << 10)) {
    check_launch(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, int(shape.shared.count)),
                 name, "shared memory");
  }
  check_launch(start(), name, "launch");
  static const bool wait = [] {
    const char* text = std::getenv("VITRINE_SYNC");
    return text && *text == '1';
  }();
  if (wait && !stream_records())
    check_launch(cudaStreamSynchronize(static_cast<cudaStream_t>(current_stream())), name, "run");
#else
  struct Call {
    void (*kernel)(P...);
    Values values;
  };
  // A recording copies the bytes of a call, as a GPU's driver those of the arguments.
  static_assert(std::is_trivially_copyable_v<Call> && alignof(Call) <= alignof(std::max_align_t));
  const Call call{kernel, {{static_cast<P>(std::forward<A>(args))}...}};
  emulator::run({.name = name,
                 .grid = {shape.grid.x, shape.grid.y, shape.grid.z},
                 .block = {shape.block.x, shape.block.y, shape.block.z},
                 .shared = shape.shared.count,
                 .invoke =
                     [](const void* p) {
                       const Call& c = *static_cast<const Call*>(p);
                       c.values.call(c.kernel);
                     },
                 .arguments = &call,
                 .argument_bytes = sizeof call});
#endif
}

}  // namespace VITRINE_WORLD
}  // namespace vitrine::cuda
