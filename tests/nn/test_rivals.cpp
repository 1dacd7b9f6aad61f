#include <cmath>
#include <map>

#include "core/trace.h"
#include "nn/attention.h"
#include "nn/peg.h"
#include "ops/reduce/reduce.h"
#include "tests/support/catch.h"

using namespace vitrine;

namespace {

constexpr const char* kMethods[] = {"shaw", "transformer-xl", "huang", "sasa", "axial"};
constexpr int64_t kBatch = 2, kDim = 8, kHeads = 2, kHead = kDim / kHeads, kBound = 3;
/// One axis longer than the clip's bound, the other not, with 0, 1 and 2 extra tokens.
constexpr nn::TokenGrid kGrids[] = {{2, 5, 0}, {5, 2, 1}, {2, 5, 2}};

std::unique_ptr<nn::Attention> make_layer(const std::string& rpe, const nn::TokenGrid& grid, Generator& rng,
                                          Device device = Device::cpu()) {
  const nn::RpeChoice choice = nn::parse_rpe_choice(rpe);
  auto layer = std::make_unique<nn::Attention>(
      nn::Scope{.device = device, .dtype = Dtype::f64, .rng = &rng},
      nn::AttentionConfig{.dim = kDim, .heads = kHeads, .grid = grid, .rpe = choice.rpe, .rival = choice.rival});
  const NoGrad no_grad;  // initial values are small or zero; every term shall count
  for (auto [name, p] : layer->parameters()) p.copy_(random_normal(p.shape(), rng, 0, 0.6, {.dtype = Dtype::f64}));
  return layer;
}

Tensor input(const nn::TokenGrid& grid, uint64_t seed) {
  Generator rng{.seed = seed};
  return random_normal({kBatch, grid.tokens(), kDim}, rng, 0, 1, {.dtype = Dtype::f64});
}

using Vector = std::vector<double>;  // of one head

/// The equations of nn/rivals.h for the pair of query i and key j, from the parameters' values.
class Pair {
 public:
  Pair(const nn::Attention& layer, int64_t i, int64_t j) : grid_(layer.config.grid) {
    for (const auto& [name, p] : layer.parameters()) values_[name] = p.to_vector();
    extra_ = i < grid_.skip || j < grid_.skip;
    if (extra_) return;
    const int64_t a = i - grid_.skip, b = j - grid_.skip;
    dr_ = a / grid_.width - b / grid_.width, dc_ = a % grid_.width - b % grid_.width;
  }

  double logit(const std::string& method, int64_t h, const Vector& q, const Vector& k) const {
    const double s = 1 / std::sqrt(double(kHead)), content = dot(q, k);
    if (method == "shaw") return s * (content + dot(q, column("rpe_k.lookup_table_weight")));
    if (method == "huang") {
      const Vector p = column("rpe.lookup_table_weight");
      return s * (content + dot(q, p) + dot(k, p));
    }
    if (method == "axial")
      return s * (content + dot(q, column("rpe.lookup_table_k")) + dot(k, column("rpe.lookup_table_q")));
    if (method == "sasa") return s * (content + dot(q, sasa()));
    Vector with_u = q, with_v = q;
    for (int64_t c = 0; c < kHead; ++c) {
      with_u[size_t(c)] += values_.at("rpe.r_w_bias")[size_t(h * kHead + c)];
      with_v[size_t(c)] += values_.at("rpe.r_r_bias")[size_t(h * kHead + c)];
    }
    return s * (dot(with_u, k) + dot(with_v, projected(h)));
  }
  /// What is added to v_j.
  Vector value(const std::string& method) const {
    Vector p(kHead, 0.0);
    if (method != "axial") return p;
    for (int64_t c = 0; c < kHead; ++c) p[size_t(c)] = values_.at("rpe.lookup_table_v")[size_t(bucket() * kHead + c)];
    return p;
  }

 private:
  static double dot(const Vector& a, const Vector& b) {
    double sum = 0;
    for (size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
    return sum;
  }
  static int64_t clip(int64_t x) { return std::clamp<int64_t>(x, -kBound, kBound); }
  int64_t bucket() const {
    const int64_t side = 2 * kBound + 1;
    return extra_ ? side * side : (clip(dr_) + kBound) * side + clip(dc_) + kBound;
  }
  Vector column(const std::string& name) const {
    const int64_t buckets = (2 * kBound + 1) * (2 * kBound + 1) + (grid_.skip > 0);
    Vector p;
    for (int64_t c = 0; c < kHead; ++c) p.push_back(values_.at(name)[size_t(c * buckets + bucket())]);
    return p;
  }
  Vector sasa() const {
    const int64_t most = std::max(grid_.height, grid_.width) - 1, buckets = 2 * most + 1 + (grid_.skip > 0);
    const auto at = [&](const char* name, int64_t c, int64_t offset) {
      return values_.at(name)[size_t(c * buckets + (extra_ ? buckets - 1 : offset + most))];
    };
    Vector p;
    for (int64_t c = 0; c < kHead / 2; ++c) p.push_back(at("rpe.lookup_table_rows", c, dr_));
    for (int64_t c = 0; c < kHead / 2; ++c) p.push_back(at("rpe.lookup_table_cols", c, dc_));
    return p;
  }
  /// The head's part of R: the sinusoids of both clipped offsets through the C x C matrix.
  Vector projected(int64_t h) const {
    Vector s;
    for (const int64_t offset : {clip(dr_), clip(dc_)})
      for (const bool cosine : {false, true})
        for (int64_t k = 0; k < kDim / 4; ++k) {
          const double angle = double(offset) * std::pow(10000.0, -2.0 * double(k) / double(kDim / 2));
          s.push_back(extra_ ? 0 : cosine ? std::cos(angle) : std::sin(angle));
        }
    Vector r;
    for (int64_t c = 0; c < kHead; ++c) {
      const auto row = values_.at("rpe.r_net.weight").begin() + (h * kHead + c) * kDim;
      r.push_back(dot(Vector(row, row + kDim), s));
    }
    return r;
  }

  nn::TokenGrid grid_;
  std::map<std::string, Vector> values_;
  bool extra_ = false;
  int64_t dr_ = 0, dc_ = 0;
};

/// The layer pair by pair.
Tensor by_formula(nn::Attention& layer, const std::string& method, const Tensor& x) {
  const int64_t n = layer.config.grid.tokens();
  const Vector qkv = layer.qkv(x).to_vector();
  const auto part = [&](int64_t which, int64_t b, int64_t h, int64_t i) {
    const auto at = qkv.begin() + ((b * n + i) * 3 + which) * kDim + h * kHead;
    return Vector(at, at + kHead);
  };
  std::vector<Pair> pairs;
  for (int64_t i = 0; i < n * n; ++i) pairs.emplace_back(layer, i / n, i % n);
  Vector out(size_t(kBatch * n * kDim), 0.0);
  for (int64_t b = 0; b < kBatch; ++b)
    for (int64_t h = 0; h < kHeads; ++h)
      for (int64_t i = 0; i < n; ++i) {
        Vector weights;
        double total = 0;
        for (int64_t j = 0; j < n; ++j) {
          weights.push_back(std::exp(pairs[size_t(i * n + j)].logit(method, h, part(0, b, h, i), part(1, b, h, j))));
          total += weights.back();
        }
        for (int64_t j = 0; j < n; ++j) {
          const Vector v = part(2, b, h, j), p = pairs[size_t(i * n + j)].value(method);
          for (int64_t c = 0; c < kHead; ++c)
            out[size_t((b * n + i) * kDim + h * kHead + c)] +=
                weights[size_t(j)] / total * (v[size_t(c)] + p[size_t(c)]);
        }
      }
  return layer.proj(from_vector(out, {kBatch, n, kDim}, {.dtype = Dtype::f64}));
}

/// Largest difference relative to the largest expected value.
double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const Vector x = a.to_vector(), y = b.to_vector();
  double worst = 0, largest = 1e-3;
  for (size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, std::abs(x[i] - y[i])), largest = std::max(largest, std::abs(y[i]));
  return worst / largest;
}

/// d<c, f()> / dt by central differences.
template <class F>
Tensor numeric_gradient(Tensor t, const Tensor& cotangent, F&& f) {
  const NoGrad no_grad;
  const auto scalar = [&] { return ops::sum(ops::mul(f(), cotangent)).item(); };
  const double step = 1e-5;
  Vector gradient;
  for (int64_t e = 0; e < t.numel(); ++e) {
    double* at = t.mutable_data<double>() + e;
    const double value = *at;
    *at = value + step;
    const double above = scalar();
    t.mutable_data<double>()[e] = value - step;
    const double below = scalar();
    t.mutable_data<double>()[e] = value;
    gradient.push_back((above - below) / (2 * step));
  }
  return from_vector(gradient, t.shape(), {.dtype = Dtype::f64});
}

/// Every gradient of a module with input x, against central differences.
template <class M>
void check_gradients(M& module, Tensor x) {
  x.set_requires_grad();
  Generator rng{.seed = 5};
  const Tensor y = module(x), cotangent = random_normal(y.shape(), rng, 0, 1, {.dtype = Dtype::f64});
  y.backward({.gradient = cotangent});
  nn::NamedTensors all = module.parameters();
  all.emplace_back("x", x);
  for (const auto& [name, t] : all) {
    INFO(name);
    CHECK(difference(t.grad(), numeric_gradient(t.detach(), cotangent, [&] { return module(x); })) < 1e-6);
  }
}

/// Values and gradients of every method on `device` against those on the CPU.
void check_device(Device device) {
  const nn::TokenGrid grid = kGrids[1];
  for (const char* method : kMethods) {
    INFO(method);
    Generator first{.seed = 1}, second{.seed = 1};
    const auto cpu = make_layer(method, grid, first), other = make_layer(method, grid, second, device);
    const Tensor x = input(grid, 2), there = x.to(device);
    const Tensor y = (*cpu)(x), z = (*other)(there);
    CHECK(difference(z, y) < 1e-12);
    ops::sum(ops::mul(y, x)).backward();
    ops::sum(ops::mul(z, there)).backward();
    const nn::NamedTensors ours = cpu->parameters(), theirs = other->parameters();
    for (size_t i = 0; i < ours.size(); ++i) CHECK(difference(theirs[i].second.grad(), ours[i].second.grad()) < 1e-12);
  }
}

struct Collector : trace::Watcher {
  bool seen = false;
  bool wants(const std::string& name) override { return name.ends_with("probabilities"); }
  void see(const std::string&, const Tensor&) override { seen = true; }
};

}  // namespace

TEST_CASE("earlier relative positions equal their equations written out pair by pair", "[unit]") {
  for (const char* method : kMethods)
    for (const nn::TokenGrid& grid : kGrids) {
      INFO(method << " on " << grid.height << " x " << grid.width << ", " << grid.skip << " extra");
      Generator rng{.seed = 1};
      const auto layer = make_layer(method, grid, rng);
      const Tensor x = input(grid, 2);
      const NoGrad no_grad;
      const Tensor expected = by_formula(*layer, method, x);
      CHECK(difference((*layer)(x), expected) < 1e-12);
      Collector collector;  // who watches makes it run unfused
      trace::Watcher* before = trace::set_watcher(&collector);
      const Tensor watched = (*layer)(x);
      trace::set_watcher(before);
      CHECK(collector.seen);
      CHECK(difference(watched, expected) < 1e-12);
    }
}

TEST_CASE("gradients of earlier relative positions equal central differences", "[unit]") {
  for (const char* method : kMethods)
    for (const nn::TokenGrid& grid : kGrids) {
      INFO(method << " on " << grid.height << " x " << grid.width << ", " << grid.skip << " extra");
      Generator rng{.seed = 3};
      check_gradients(*make_layer(method, grid, rng), input(grid, 4));
    }
}

TEST_CASE("the emulated device computes earlier relative positions the same", "[unit][emulated]") {
  check_device(Device::emulated());
}

TEST_CASE("the cuda device computes earlier relative positions the same", "[unit][cuda]") {
  if (cuda_device_count() == 0) {
    WARN("SKIPPED: no cuda device");
    return;
  }
  check_device(Device::cuda());
}

TEST_CASE("position generators add a convolution of the grid and leave extra tokens alone", "[unit]") {
  const nn::TokenGrid grid{2, 3, 2};
  Generator rng{.seed = 1};
  nn::PositionGenerator generator({.dtype = Dtype::f64, .rng = &rng}, kDim, grid);
  const nn::NamedTensors parameters = generator.state_dict();
  REQUIRE(parameters.size() == 2);
  CHECK(parameters[0].first == "proj.0.weight");
  CHECK(parameters[0].second.shape() == Shape{kDim, 1, 3, 3});
  CHECK(parameters[1].first == "proj.0.bias");
  const Tensor x = input(grid, 2), y = generator(x).detach();
  CHECK(y.narrow(1, 0, 2).to_vector() == x.narrow(1, 0, 2).to_vector());
  const Vector in = x.to_vector(), w = parameters[0].second.to_vector(), bias = parameters[1].second.to_vector();
  Vector expected = in;
  const auto at = [&](int64_t b, int64_t row, int64_t column, int64_t c) {
    return size_t((b * grid.tokens() + grid.skip + row * grid.width + column) * kDim + c);
  };
  for (int64_t b = 0; b < kBatch; ++b)
    for (int64_t row = 0; row < grid.height; ++row)
      for (int64_t column = 0; column < grid.width; ++column)
        for (int64_t c = 0; c < kDim; ++c) {
          double& sum = expected[at(b, row, column, c)];
          sum += bias[size_t(c)];
          for (int64_t i = std::max<int64_t>(0, row - 1); i <= std::min(grid.height - 1, row + 1); ++i)
            for (int64_t j = std::max<int64_t>(0, column - 1); j <= std::min(grid.width - 1, column + 1); ++j)
              sum += w[size_t(c * 9 + (i - row + 1) * 3 + j - column + 1)] * in[at(b, i, j, c)];
        }
  CHECK(difference(y, from_vector(expected, y.shape(), {.dtype = Dtype::f64})) < 1e-14);
  check_gradients(generator, x);
}

TEST_CASE("strings of earlier relative positions, and combinations that do not exist", "[unit]") {
  for (const char* text : {"transformer-xl", "huang", "sasa", "axial", "none"})
    CHECK(to_string(nn::parse_rpe_choice(text)) == text);
  CHECK(to_string(nn::parse_rpe_choice("shaw")) == "rpe-1.9-product-ctx-1-k-clip");
  CHECK(to_string(nn::parse_rpe_choice("rpe-1.9-product-ctx-1-qkv")) == "rpe-1.9-product-ctx-1-qkv");
  CHECK(to_string(nn::parse_rpe_choice("")) == "none");
  const auto choices = [](const std::string& text) {
    return "rpe '" + text + "': must be none, shaw, transformer-xl, huang, sasa, axial, or as rpe-1.9-product-ctx-1-k";
  };
  for (const char* text : {"hunag", "huang-v", "Shaw", "product"})
    CHECK_THROWS_WITH(nn::parse_rpe_choice(text), choices(text));
  CHECK_THROWS_WITH(nn::parse_rpe_choice("rpe-huang"), testing::Contains("the form is rpe-"));

  const auto layer = [](const nn::AttentionConfig& config) { return [=] { nn::Attention a({}, config); }; };
  CHECK_THROWS_WITH(layer({.dim = 6, .heads = 2, .grid = {2, 2, 1}, .rival = nn::Rival::sasa})(),
                    "rpe 'sasa' halves the channels of a head, and 3 is odd: choose an even dim / heads");
  CHECK_THROWS_WITH(layer({.dim = 6, .heads = 2, .grid = {2, 2, 1}, .rival = nn::Rival::transformer_xl})(),
                    "rpe 'transformer-xl' needs a dim that 4 divides, got 6");
  CHECK_THROWS_WITH(
      layer({.dim = 8, .heads = 2, .grid = {2, 2, 1}, .rpe = ops::RpeConfig(), .rival = nn::Rival::huang})(),
      "attention: huang takes the place of rpe, but there are both");
}
