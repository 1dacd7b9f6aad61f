#include "core/parallel.h"
#include "ops/binary/binary.h"
#include "tests/core/cuda/runners.h"
#include "tests/support/catch.h"
#include "tests/support/gradcheck.h"
#include "tests/support/sweep.h"

/// The sweep tested on faulty ops: each property must notice the fault that it exists for, and nothing in the same op
/// done right.
namespace vitrine::testing {
namespace {

/// y = x^2 with planted faults.
struct Faults {
  double vjp_factor = 1;
  bool ignores_strides = false, skips_last = false, counts_calls = false, writes_input = false;
  bool bf16_sums = false, counts_threads = false, lacks_barrier = false;
  double cpu_factor = 1, cpu_vjp_factor = 1;  // on that device alone
};

std::vector<Tensor>& leaked() {
  static std::vector<Tensor> tensors;
  return tensors;
}
int calls = 0;

template <class F>
Tensor map(const Tensor& x, const Tensor& z, F f) {
  const std::vector<double> a = x.to_vector(), b = z.to_vector();
  std::vector<double> y(a.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = f(a[i], b[i]);
  return from_vector(y, x.shape(), x.options());
}

struct Square {
  static constexpr const char* name = "faulty_square";
  Faults faults;
  Tensor forward(Saver& save, const Tensor& x) const {
    const Tensor seen =
        faults.ignores_strides ? strided_view(x, x.offset(), x.shape(), contiguous_strides(x.shape())) : x;
    Tensor y = map(seen, seen, [](double a, double b) { return a * b; });
    if (faults.skips_last && y.numel() > 0) {
      Tensor unwritten = empty_like(y);
      unwritten.flatten().narrow(0, 0, y.numel() - 1).copy_(y.flatten().narrow(0, 0, y.numel() - 1));
      y = unwritten;
    }
    if (faults.counts_calls) y = map(y, y, [](double a, double) { return a + 1e-5 * ++calls; });
    if (faults.counts_threads) y = map(y, y, [](double a, double) { return a + 1e-5 * num_threads(); });
    if (faults.lacks_barrier) {
      const Words out = testing::run("faulty/no_barrier_before_overwrite", DeviceType::emulated, {false});
      y = map(y, y, [&](double a, double) { return a + 1e-5 * double(std::count(out.begin(), out.end(), 1)); });
    }
    if (faults.writes_input) Tensor(x).mul_(1.0);
    if (faults.bf16_sums && x.dtype() == Dtype::f32) y = y.to(Dtype::bf16).to(x.dtype());
    if (faults.cpu_factor != 1 && x.device() == Device::cpu())
      y = map(y, y, [&](double a, double) { return faults.cpu_factor * a; });
    save(x);
    return y;
  }
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const double factor = faults.vjp_factor * (dy.device() == Device::cpu() ? faults.cpu_vjp_factor : 1);
    return {map(saved[0], dy, [&](double x, double d) { return factor * 2 * x * d; })};
  }
};

/// x * z whose gradient of z is forgotten unless x wants one too.
struct Product {
  static constexpr const char* name = "faulty_product";
  Tensor forward(Saver& save, const Tensor& x, const Tensor& z) const {
    save(x, z);
    return map(x, z, [](double a, double b) { return a * b; });
  }
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const auto times = [](double a, double b) { return a * b; };
    const Tensor dx = map(saved[1], dy, times);
    return {dx, saved.needs(0) ? map(saved[0], dy, times) : Tensor()};
  }
};

OpSpec spec_of(OpSpec::Call call) {
  return {.name = "faulty_square",
          .arguments = {"x", "z"},
          .call = std::move(call),
          .samples = [](Maker& m) -> std::vector<Sample> {
            return {{{m.normal({3, 4}), m.normal({3, 4})}, Attributes{}, "plain"},
                    {{m.normal({0, 4}), m.normal({0, 4})}, Attributes{}, "empty"}};
          }};
}
OpSpec square(Faults faults) {
  return spec_of([faults](const Inputs& in, const Attributes&) { return Outputs(apply(Square{faults}, in[0])); });
}

constexpr Device kCpu = Device::cpu();

TEST_CASE("the sweep passes an op without faults", "[unit]") {
  OpSpec spec = square({});
  spec.reference = spec.call;
  for (auto property : {check_reference, check_gradients, check_dtypes, check_layouts, check_empty, check_repeatable,
                        check_saved, check_hygiene, check_partial, check_sensitivity})
    for (const std::string& failure : property(spec, kCpu)) FAIL_CHECK(failure);
  CHECK(falsify_vjps(spec).size() == 2);
}

TEST_CASE("the sweep sees a wrong error message, a missing error and a foreign one", "[unit]") {
  OpSpec spec = square({});
  spec.errors = [](Maker&) -> std::vector<ErrorSample> {
    return {{[] { throw ShapeError("square: right"); }, "square: right"},
            {[] { throw ShapeError("square: wrong"); }, "square: right"},
            {[] {}, "square: right"},
            {[] { throw std::runtime_error("square: right"); }, "square: right"}};
  };
  CHECK(check_errors(spec, kCpu).size() == 3);
}

TEST_CASE("the sweep sees a value and a gradient that differ from the definition", "[unit]") {
  OpSpec spec = square({});
  spec.reference = [](const Inputs& in, const Attributes&) {
    return Outputs(apply(Square{{.counts_calls = true}}, in[0]));
  };
  CHECK_FALSE(check_reference(spec, kCpu).empty());
  spec.reference = [](const Inputs& in, const Attributes&) { return Outputs(apply(Square{{.vjp_factor = 3}}, in[0])); };
  CHECK(check_reference(spec, kCpu).size() == 1);
}

TEST_CASE("the sweep compares plain loops in values alone", "[unit]") {
  OpSpec spec = square({});
  const auto loops = [](double factor) {
    return [factor](const Inputs& in, const Attributes&) -> Outputs {
      return map(in[0], in[0], [factor](double a, double b) { return factor * a * b; });
    };
  };
  spec.values = loops(1);
  CHECK(check_reference(spec, kCpu).empty());
  spec.values = loops(1.00001);
  CHECK(check_reference(spec, kCpu).size() == 1);
}

TEST_CASE("the gradient check sees small errors and names the place", "[unit]") {
  const OpSpec spec = square({.vjp_factor = 1.00001});
  CHECK(check_gradients(spec, kCpu).size() == 1);
  Maker maker(1);
  const Sample small({maker.normal({2, 3}), maker.normal({2, 3})}, Attributes{}, "small");
  const GradcheckResult full = gradcheck(spec, small, kCpu);
  CHECK_FALSE(full.passed);
  CHECK(full.detail.find("x[") == 0);
  const Sample large({maker.normal({40, 30}), maker.normal({40, 30})}, Attributes{}, "large: projections");
  CHECK_FALSE(gradcheck(spec, large, kCpu).passed);
  CHECK(gradcheck(spec, large, kCpu).detail.find("x[") == 0);
  CHECK(gradcheck(square({}), large, kCpu).passed);
}

TEST_CASE("the gradient check reports a failing op instead of throwing", "[unit]") {
  const OpSpec spec = spec_of([](const Inputs&, const Attributes&) -> Outputs { throw ShapeError("no"); });
  Maker maker(1);
  const GradcheckResult r = gradcheck(spec, Sample({maker.normal({2})}, Attributes{}, "throws"), kCpu);
  CHECK_FALSE(r.passed);
  CHECK(r.detail == "no");
}

TEST_CASE("the sweep sees low precision and unwritten elements", "[unit]") {
  CHECK_FALSE(check_dtypes(square({.bf16_sums = true}), kCpu).empty());
  CHECK_FALSE(check_dtypes(square({.skips_last = true}), kCpu).empty());
}

TEST_CASE("the sweep sees values and gradients that differ from the emulated device's", "[unit][emulated]") {
  CHECK(check_emulated(square({}), kCpu).empty());
  CHECK(check_emulated(square({.cpu_factor = 1.0001}), kCpu).size() == 2);  // f64 and f32; 16 bits do not hold it
  CHECK(check_emulated(square({.cpu_vjp_factor = 1.5}), kCpu).size() == 4);
  CHECK(check_emulated(square({.counts_calls = true}), kCpu).size() >= 2);
  OpSpec whole = spec_of([](const Inputs& in, const Attributes&) {
    const NoGrad no_grad;
    const double shift = in[0].device() == kCpu ? 1 : 0;
    return Outputs(map(in[0], in[0], [&](double a, double) { return std::floor(a) + shift; }).to(Dtype::i64));
  });
  whole.samples = [](Maker& m) -> std::vector<Sample> {
    Sample sample({m.normal({3, 4}), m.normal({3, 4})}, Attributes{}, "integers");
    sample.differentiable = false;
    return {sample};
  };
  CHECK_FALSE(check_emulated(whole, kCpu).empty());
}

TEST_CASE("the sweep sees ignored strides", "[unit]") {
  CHECK_FALSE(check_layouts(square({.ignores_strides = true}), kCpu).empty());
}

TEST_CASE("the sweep lays out inputs one at a time, in large samples those that no other sample had", "[unit]") {
  OpSpec spec = spec_of([](const Inputs& in, const Attributes&) {
    const bool alone = in[0].is_contiguous() && !in[1].is_contiguous();
    return Outputs(ops::add(ops::mul(in[0], in[1]), alone ? 1.0 : 0.0));
  });
  spec.samples = [](Maker& m) -> std::vector<Sample> {
    const auto large = [&] { return Sample({m.normal({400, 256}), m.normal({400, 256})}, Attributes{}, "large"); };
    return {large(), large()};
  };
  CHECK(check_layouts(spec, kCpu).size() == 8);  // reversed and expanded, in two dtypes
  CHECK(check_layouts(spec, Device::emulated()).size() == 4);
}

TEST_CASE("the sweep asks for an empty sample", "[unit]") {
  OpSpec spec = square({});
  spec.samples = [](Maker& m) -> std::vector<Sample> { return {{{m.normal({3})}, Attributes{}, "plain"}}; };
  CHECK(check_empty(spec, kCpu).size() == 1);
  spec.never_empty = "a reason";
  CHECK(check_empty(spec, kCpu).empty());
}

TEST_CASE("the sweep sees results that change from run to run", "[unit]") {
  CHECK_FALSE(check_repeatable(square({.counts_calls = true}), kCpu).empty());
}

TEST_CASE("the sweep sees results that change with the number of threads", "[unit]") {
  const Failures failures = check_repeatable(square({.counts_threads = true}), kCpu);
  REQUIRE(failures.size() == 1);
  CHECK_THAT(failures[0], Contains("1 thread against 2"));
}

TEST_CASE("the sweep sees results that change with the order of threads, with each of its seeds", "[unit]") {
  CHECK(check_orders(square({}), Device::emulated()).empty());
  const Failures failures = check_orders(square({.lacks_barrier = true}), Device::emulated());
  for (int seed = 1; seed <= 5; ++seed) {
    const std::string wanted = format("order priority, seed {}: ", seed);
    CAPTURE(wanted);
    CHECK(std::any_of(failures.begin(), failures.end(), [&](const auto& f) { return f.find(wanted) != f.npos; }));
  }
}

TEST_CASE("the vjp of a cast, which no pass in f64 records, is falsified too", "[unit]") {
  const std::vector<Falsification> tried = falsify_vjps(find_op_spec("to"));
  REQUIRE(tried.size() == 2);
  for (const Falsification& f : tried) CHECK((f.node == "cast" && f.noticed));
}

TEST_CASE("the sweep sees a saved tensor whose change goes unnoticed", "[unit]") {
  const OpSpec spec = spec_of([](const Inputs& in, const Attributes&) {
    const Tensor y = apply(Square{}, in[0]);
    if (y.node()) ++y.node()->saved[0].version;  // as if it had been saved after the write to come
    return Outputs(y);
  });
  CHECK_FALSE(check_saved(spec, kCpu).empty());
}

TEST_CASE("the sweep sees written inputs, leaks and recording under NoGrad", "[unit]") {
  CHECK_FALSE(check_hygiene(square({.writes_input = true}), kCpu).empty());
  const OpSpec leaky = spec_of([](const Inputs& in, const Attributes&) {
    leaked().push_back(in[0].clone());
    return Outputs(apply(Square{}, in[0]));
  });
  CHECK_FALSE(check_hygiene(leaky, kCpu).empty());
  leaked().clear();
  const OpSpec recording = spec_of([](const Inputs& in, const Attributes&) {
    const EnableGrad on;
    return Outputs(apply(Square{}, in[0]));
  });
  CHECK_FALSE(check_hygiene(recording, kCpu).empty());
}

TEST_CASE("the sweep sees a gradient that depends on who else wants one", "[unit]") {
  const OpSpec spec =
      spec_of([](const Inputs& in, const Attributes&) { return Outputs(apply(Product{}, in[0], in[1])); });
  CHECK(check_gradients(spec, kCpu).empty());
  CHECK_FALSE(check_partial(spec, kCpu).empty());
}

TEST_CASE("an unknown op names its neighbours", "[unit]") {
  CHECK_THROWS_WITH(find_op_spec("transpos"), Contains("transpose"));
  CHECK(find_op_spec("transpose").folder == "core");
}

}  // namespace
}  // namespace vitrine::testing
