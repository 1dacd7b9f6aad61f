#include <fstream>
#include <nlohmann/json.hpp>

#include "nn/optim/schedule.h"
#include "tests/support/catch.h"

TEST_CASE("schedule: by epochs, the rate of each of 300 is that of the reference program", "[unit]") {
  std::ifstream file(std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/deit/schedule.json");
  const auto expected = nlohmann::json::parse(file).get<std::vector<double>>();
  REQUIRE(expected.size() == 300);
  const vitrine::nn::CosineSchedule schedule{.base = 1e-3, .warmup_lr = 1e-6, .min_lr = 1e-5};
  for (size_t e = 0; e < expected.size(); ++e) {
    INFO("epoch " << e);
    CHECK(std::abs(schedule.in_epoch(int64_t(e)) - expected[e]) <= 1e-15 * expected[e]);
  }
  CHECK(schedule(300) == 1e-5);
}
