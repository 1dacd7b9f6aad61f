#include "core/kernel_slot.h"
#include "tests/support/catch.h"

using namespace vitrine;

TEST_CASE("a kernel runs where its first defined tensor lives, or its slot says what is missing", "[unit]") {
  static int calls = 0;
  KernelSlot<void(const Tensor& x, const Tensor& y)> slot("nothing_forward");
  slot.bind(DeviceType::cpu, [](const Tensor&, const Tensor&) { ++calls; });
  const Tensor here = ones({1}), there = ones({1}, {.device = Device::emulated()});
  slot(here, there);
  slot({}, here);
  CHECK(calls == 2);
  CHECK_THROWS_WITH(slot(there, here), "nothing_forward: no emulated kernel in this build");
  CHECK_THROWS_AS(slot({}, there), NotImplemented);
  CHECK(calls == 2);
  CHECK_THROWS_WITH(detail::unbound_slot("softmax_forward", DeviceType::cuda),
                    "softmax_forward: no cuda kernel in this build");
}
