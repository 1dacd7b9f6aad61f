#include <cstdlib>

#include "core/cuda/emulator/emulator.h"
#include "tests/support/catch.h"
#include "tests/support/sweep_case.h"

namespace vitrine::testing {
namespace {

TEST_CASE("the sweep keeps to small samples where VITRINE_SWEEP_SMALL is set", "[unit]") {
  OpSpec spec;
  spec.samples = [](Maker& m) -> std::vector<Sample> {
    return {{{m.normal({3, 4}), m.normal({3, 4})}, Attributes{}, "small"},
            {{m.normal({90, 91}), m.normal({90, 91})}, Attributes{}, "large"}};
  };
  const bool always = emulator::flavour() == emulator::Flavour::check;
  CHECK(sweep_samples(spec).size() == (always ? 1 : 2));
  setenv("VITRINE_SWEEP_SMALL", "1", 1);
  CHECK(sweep_samples(spec).size() == 1);
  unsetenv("VITRINE_SWEEP_SMALL");
}

}  // namespace
}  // namespace vitrine::testing
