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

// The check preset runs 4 and 5 on the emulated device: there every access of every kernel is checked for races, bounds
// and initialisation, and one order is enough. Other layouts take the paths without vector loads.
TEST_CASE("sweep 1 cpu: error messages", "[sweep]") { sweep(check_errors, kCpu); }

TEST_CASE("sweep 2 cpu: equals its definition", "[sweep]") { sweep(check_reference, kCpu); }

TEST_CASE("sweep 3 cpu: gradients against central differences", "[sweep]") { sweep(check_gradients, kCpu); }
TEST_CASE("sweep 3 emulated: gradients against central differences", "[sweep]") { sweep(check_gradients, kEmulated); }
TEST_CASE("sweep 3 cuda: gradients against central differences", "[sweep][cuda]") { sweep(check_gradients, kCuda); }

TEST_CASE("sweep 4 cpu: every dtype agrees with f64 on the cpu", "[sweep]") { sweep(check_dtypes, kCpu); }
TEST_CASE("sweep 4 emulated: every dtype agrees with f64 on the cpu", "[sweep]") { sweep(check_dtypes, kEmulated); }
TEST_CASE("sweep 4 cuda: every dtype agrees with f64 on the cpu", "[sweep][cuda]") { sweep(check_dtypes, kCuda); }

TEST_CASE("sweep 5 cpu: any memory layout", "[sweep]") { sweep(check_layouts, kCpu); }
TEST_CASE("sweep 5 emulated: any memory layout", "[sweep]") { sweep(check_layouts, kEmulated); }
TEST_CASE("sweep 5 cuda: any memory layout", "[sweep][cuda]") { sweep(check_layouts, kCuda); }

TEST_CASE("sweep 6 cpu: empty dims", "[sweep]") { sweep(check_empty, kCpu); }
TEST_CASE("sweep 6 emulated: empty dims", "[sweep]") { sweep(check_empty, kEmulated); }
TEST_CASE("sweep 6 cuda: empty dims", "[sweep][cuda]") { sweep(check_empty, kCuda); }

TEST_CASE("sweep 7 cpu: repeatable", "[sweep][plain]") { sweep(check_repeatable, kCpu); }
TEST_CASE("sweep 7 emulated: repeatable", "[sweep][plain]") { sweep(check_repeatable, kEmulated); }
TEST_CASE("sweep 7 cuda: repeatable", "[sweep][cuda]") { sweep(check_repeatable, kCuda); }

TEST_CASE("sweep 8 cpu: a changed saved tensor is noticed", "[sweep]") { sweep(check_saved, kCpu); }

TEST_CASE("sweep 9 cpu: leaves nothing behind", "[sweep]") { sweep(check_hygiene, kCpu); }
TEST_CASE("sweep 9 emulated: leaves nothing behind", "[sweep]") { sweep(check_hygiene, kEmulated); }
TEST_CASE("sweep 9 cuda: leaves nothing behind", "[sweep][cuda]") { sweep(check_hygiene, kCuda); }

TEST_CASE("sweep 10 emulated: any order of threads and blocks", "[sweep][plain]") { sweep(check_orders, kEmulated); }

TEST_CASE("sweep 11 cpu: one gradient alone", "[sweep]") { sweep(check_partial, kCpu); }

TEST_CASE("sweep 12 cpu: a falsified vjp is noticed", "[sweep]") { sweep(check_sensitivity, kCpu); }

TEST_CASE("sweep 13 cpu: agrees with the emulated device", "[sweep][plain]") { sweep(check_emulated, kCpu); }
TEST_CASE("sweep 13 cuda: agrees with the emulated device", "[sweep][cuda]") { sweep(check_emulated, kCuda); }

// For tests/mutate.py: what sweep 12 tried, as lines of JSON.
TEST_CASE("list falsified vjps", "[.mutants]") {
  for (const OpSpec* spec : selected_specs())
    for (const Falsification& f : falsify_vjps(*spec))
      std::printf("{\"op\": \"%s\", \"node\": \"%s\", \"input\": %d, \"factor\": %g, \"noticed\": %s}\n",
                  spec->name.c_str(), f.node.c_str(), f.input, f.factor, f.noticed ? "true" : "false");
}

}  // namespace
}  // namespace vitrine::testing
