#include "data/checkpoint/safetensors.h"
#include "nn/distillation.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "tests/support/catch.h"

using namespace vitrine;

namespace {

void check_close(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to_vector(), y = b.to_vector();
  for (size_t i = 0; i < x.size(); ++i) CHECK(x[i] == Catch::Approx(y[i]).epsilon(1e-12).margin(1e-14));
}

}  // namespace

TEST_CASE("distillation: losses and gradients of both heads are PyTorch's", "[unit]") {
  const data::Safetensors known =
      data::read_safetensors(VITRINE_SOURCE_DIR "/tests/fixtures/distillation/distillation.safetensors");
  const auto same = [&](const std::string& name, const nn::DistillationOptions& options) {
    INFO(name);
    Tensor head = known.at("head").clone(), head_dist = known.at("head_dist").clone();
    Tensor teacher = known.at("teacher").clone();
    for (Tensor* t : {&head, &head_dist, &teacher}) t->set_requires_grad();
    const Tensor base = ops::cross_entropy(head, known.at("target"));
    const Tensor loss = nn::distillation_loss(base, head_dist, teacher, options);
    check_close(loss.detach(), known.at(name));
    loss.backward();
    check_close(head.grad(), known.at(name + ".head"));
    check_close(head_dist.grad(), known.at(name + ".head_dist"));
    CHECK_FALSE(teacher.grad().defined());
  };
  same("hard", {.type = nn::Distillation::hard, .alpha = 0.5});
  same("soft.numel", {.type = nn::Distillation::soft, .alpha = 0.1, .tau = 3});
  same("soft.batch", {.type = nn::Distillation::soft, .alpha = 0.1, .tau = 3, .mean_of_rows = true});
}

TEST_CASE("distillation: what does not fit is named", "[unit]") {
  const Tensor base = zeros({}), a = zeros({2, 3}), b = zeros({2, 4});
  const auto loss = [&](const Tensor& student, const nn::DistillationOptions& options) {
    nn::distillation_loss(base, student, a, options);
  };
  CHECK_THROWS_WITH(loss(b, {}), testing::Contains("student [2, 4] f32 cpu and teacher [2, 3] f32 cpu"));
  CHECK_THROWS_WITH(loss(a, {.alpha = 2}), "distillation_loss: alpha must be in [0, 1], got 2");
  CHECK_THROWS_WITH(loss(a, {.tau = 0}), "distillation_loss: tau must be above 0, got 0");
  CHECK_THROWS_AS(loss(a, {.type = nn::Distillation::none}), ValueError);
  CHECK_THROWS_WITH(nn::parse_distillation("firm"), "distillation 'firm'; there are none, soft, hard");
}
