#include <cstdio>

#include "tests/support/catch.h"
#include "tests/support/sweep.h"

/// Every property of every op on every device: one test case per property and device, one section per op. The
/// properties are in tests/support/sweep.h; VITRINE_SWEEP_OPS=softmax,linear runs some ops only.
namespace vitrine::testing {
namespace {

using Property = Failures (*)(const OpSpec&, Device);

void sweep(Property property, Device device) {
  if (!device_present(device)) {
    std::printf("SKIPPED: no %s device here\n", name_of(device.type));
    return;
  }
  for (const OpSpec* spec : selected_specs()) {
    DYNAMIC_SECTION(spec->name) {
      for (const std::string& failure : property(*spec, device)) FAIL_CHECK(failure);
      SUCCEED();
    }
  }
}

constexpr Device kCpu = Device::cpu(), kEmulated = Device::emulated(), kCuda = Device::cuda();

#ifndef VITRINE_CHECK
TEST_CASE("sweep 1: error messages", "[sweep]") { sweep(check_errors, kCpu); }

TEST_CASE("sweep 2: equals its definition, cpu", "[sweep]") { sweep(check_reference, kCpu); }

TEST_CASE("sweep 3: gradients against central differences, cpu", "[sweep]") { sweep(check_gradients, kCpu); }
TEST_CASE("sweep 3: gradients against central differences, emulated", "[sweep]") { sweep(check_gradients, kEmulated); }
TEST_CASE("sweep 3: gradients against central differences, cuda", "[sweep][cuda]") { sweep(check_gradients, kCuda); }

TEST_CASE("sweep 4: every dtype agrees with f64 on the cpu, cpu", "[sweep]") { sweep(check_dtypes, kCpu); }
TEST_CASE("sweep 4: every dtype agrees with f64 on the cpu, emulated", "[sweep]") { sweep(check_dtypes, kEmulated); }
TEST_CASE("sweep 4: every dtype agrees with f64 on the cpu, cuda", "[sweep][cuda]") { sweep(check_dtypes, kCuda); }

TEST_CASE("sweep 5: any memory layout, cpu", "[sweep]") { sweep(check_layouts, kCpu); }
TEST_CASE("sweep 5: any memory layout, emulated", "[sweep]") { sweep(check_layouts, kEmulated); }
TEST_CASE("sweep 5: any memory layout, cuda", "[sweep][cuda]") { sweep(check_layouts, kCuda); }

TEST_CASE("sweep 6: empty dims, cpu", "[sweep]") { sweep(check_empty, kCpu); }
TEST_CASE("sweep 6: empty dims, emulated", "[sweep]") { sweep(check_empty, kEmulated); }
TEST_CASE("sweep 6: empty dims, cuda", "[sweep][cuda]") { sweep(check_empty, kCuda); }

TEST_CASE("sweep 7: repeatable, cpu", "[sweep]") { sweep(check_repeatable, kCpu); }
TEST_CASE("sweep 7: repeatable, emulated", "[sweep]") { sweep(check_repeatable, kEmulated); }
TEST_CASE("sweep 7: repeatable, cuda", "[sweep][cuda]") { sweep(check_repeatable, kCuda); }

TEST_CASE("sweep 8: a changed saved tensor is noticed", "[sweep]") { sweep(check_saved, kCpu); }

TEST_CASE("sweep 9: records, writes and keeps nothing it should not, cpu", "[sweep]") { sweep(check_hygiene, kCpu); }
TEST_CASE("sweep 9: records, writes and keeps nothing it should not, emulated", "[sweep]") {
  sweep(check_hygiene, kEmulated);
}
TEST_CASE("sweep 9: records, writes and keeps nothing it should not, cuda", "[sweep][cuda]") {
  sweep(check_hygiene, kCuda);
}

TEST_CASE("sweep 10: any order of threads and blocks, emulated", "[sweep]") { sweep(check_orders, kEmulated); }

TEST_CASE("sweep 11: one gradient alone, cpu", "[sweep]") { sweep(check_partial, kCpu); }

TEST_CASE("sweep 12: a falsified vjp is noticed", "[sweep]") {
  sweep([](const OpSpec& spec, Device) { return check_sensitivity(spec); }, kCpu);
}
#else
// Every access of every kernel is checked for races, bounds and initialisation: one order is enough.
TEST_CASE("sweep 4: every dtype agrees with f64 on the cpu, emulated", "[sweep]") { sweep(check_dtypes, kEmulated); }
#endif

}  // namespace
}  // namespace vitrine::testing
