#include "core/trace.h"
#include "models/deit/deit.h"
#include "ops/binary/operators.h"
#include "ops/softmax/softmax.h"
#include "ops/unary/unary.h"
#include "tests/support/models.h"

using namespace vitrine;
using models::DeiT;
using models::DeiTConfig;
using namespace vitrine::testing;

TEST_CASE("deit: drop path grows by equal steps from nothing in the first block", "[model]") {
  Generator rng;
  DeiTConfig config = small_deit(false);
  config.depth = 12, config.drop_path = 0.1;
  DeiT model({.rng = &rng}, config);
  const trace::Recorder recorder;
  model(random_normal({1, 3, 12, 12}, rng));
  std::vector<std::pair<std::string, double>> rates;  // of the ops that ran, in order; 0 runs none
  for (const trace::Event& event : recorder.events())
    if (event.kind == trace::Event::Kind::forward && event.name == "drop_path")
      rates.emplace_back(event.module_path, std::stod(event.attributes.substr(2)));
  REQUIRE(rates.size() == 22);  // of attention and of the MLP
  for (size_t i = 0; i < rates.size(); ++i) {
    CHECK(rates[i].first == format("blocks.{}", i / 2 + 1));
    CHECK(rates[i].second == Catch::Approx(0.1 / 11 * double(i / 2 + 1)));  // .0090909, .0181818, ..., .1 (deit 7)
  }
}

TEST_CASE("deit: sinusoids as absolute positions are those of their formula, and no parameter", "[model]") {
  Generator rng;
  DeiTConfig config = small_deit(true);
  config.ape = models::Ape::sincos;
  DeiT fixed({.rng = &rng}, config);
  // Of the column, then of the row; f_k = 10000^(-k/4) for k < 4 (rope-family 2). Token 2 + 3 row + column.
  const Tensor table = fixed.pos_embed.tensor();
  REQUIRE(table.shape() == Shape{1, 11, 16});
  const auto equals = [&](int64_t token, const std::vector<double>& expected) {
    const std::vector<double> row = table.select(1, token).to_vector();
    for (size_t i = 0; i < 16; ++i) CHECK(row[i] == Catch::Approx(expected[i]).margin(1e-7));
  };
  equals(0, std::vector<double>(16, 0.0));
  equals(1, std::vector<double>(16, 0.0));
  equals(2, {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1});
  equals(2 + 3 * 2 + 1, {0.8414709848, 0.0998334166, 0.0099998333, 0.0009999998,  // sin of 1, 0.1, 0.01, 0.001
                         0.5403023059, 0.9950041653, 0.9999500004, 0.9999995000,  // cos of them
                         0.9092974268, 0.1986693308, 0.0199986667, 0.0019999987,  // sin of 2, 0.2, 0.02, 0.002
                         -0.4161468365, 0.9800665778, 0.9998000067, 0.9999980000});
  const nn::NamedTensors parameters = fixed.parameters();
  CHECK(std::none_of(parameters.begin(), parameters.end(), [](const auto& p) { return p.first == "pos_embed"; }));
  // The same as a learned table with these values.
  DeiT learned({.rng = &rng}, small_deit(true));
  learned.load_state_dict(fixed.state_dict());
  const Tensor images = random_normal({2, 3, 12, 12}, rng);
  CHECK(fixed(images).to_vector() == learned(images).to_vector());
  CHECK(learned.parameter_count() == fixed.parameter_count() + 11 * 16);
}

TEST_CASE("deit: without absolute positions it computes what a table of zeros does", "[model]") {
  Generator rng;
  DeiTConfig config = small_deit(false);
  config.ape = models::Ape::none;
  DeiT none({.rng = &rng}, config), learned({.rng = &rng}, small_deit(false));
  CHECK_FALSE(none.pos_embed.defined());
  nn::NamedTensors weights = none.state_dict();
  CHECK(std::none_of(weights.begin(), weights.end(), [](const auto& w) { return w.first == "pos_embed"; }));
  weights.emplace_back("pos_embed", zeros({1, 10, 16}));
  learned.load_state_dict(weights);
  const Tensor images = random_normal({2, 3, 12, 12}, rng);
  CHECK(none(images).to_vector() == learned(images).to_vector());
}

TEST_CASE("deit: both heads' logits are averaged, or their softmax", "[model]") {
  Generator rng;
  DeiT model({.dtype = Dtype::f64, .rng = &rng}, small_deit(true));
  for (auto [name, p] : model.parameters())
    if (name.starts_with("head"))
      p.detach().copy_(random_normal(p.shape(), rng, 0, 30, p.options()));  // heads disagree
  const Tensor images = random_normal({3, 3, 12, 12}, rng, 0, 1, {.dtype = Dtype::f64});
  const auto [a, b] = model.forward_heads(images);
  CHECK(model(images).to_vector() == ((a + b) * 0.5).to_vector());
  model.fusion = models::HeadFusion::softmax;
  const Tensor joined = model(images), mean = (ops::softmax(a, -1) + ops::softmax(b, -1)) * 0.5;
  CHECK(distance(ops::softmax(joined, -1), mean) < 1e-14);
  CHECK(distance(ops::exp(joined), mean) < 1e-14);  // logarithms of probabilities
  for (const double x : joined.to_vector()) CHECK(std::isfinite(x));
}
