#include "core/allocator.h"
#include "core/autograd.h"
#include "core/backend.h"
#include "core/captured_graph.h"
#include "core/memory_pool.h"
#include "core/random.h"
#include "core/upload.h"
#include "ops/binary/operators.h"
#include "ops/dropout/dropout.h"
#include "ops/interpolate/interpolate.h"
#include "ops/matmul/matmul.h"
#include "ops/multi_tensor/multi_tensor.h"
#include "ops/relpos/rpe_config.h"
#include "ops/unary/unary.h"
#include "tests/support/catch.h"
#include "tests/support/models.h"

using namespace vitrine;
using namespace vitrine::testing;

namespace {

const Device kDevice = Device::emulated();

Tensor on_device(std::vector<double> values) {
  const Shape shape{int64_t(values.size())};
  return from_vector(values, shape, {.device = kDevice});
}

/// Records `work` after two rehearsals; returns the message of the error.
std::string refusal(const std::function<void()>& work) {
  CapturedGraph graph(kDevice);
  graph.rehearse([] {});
  return message_of([&] { graph.record(work); });
}

}  // namespace

TEST_CASE("memory pool: blocks are reused by size, lowest address first, and go back at the end", "[unit]") {
  Allocator& memory = allocator(kDevice);
  const int64_t before = memory.stats().live_blocks;
  const auto live = [&] { return memory.stats().live_blocks - before; };
  auto pool = std::make_shared<MemoryPool>(kDevice, memory);
  Tensor kept;
  const void *first = nullptr, *second = nullptr;
  {
    const PoolScope scope(pool);
    const Tensor a = empty({3}, {.device = kDevice}), b = empty({3}, {.device = kDevice});
    first = std::min(a.raw_data(), b.raw_data()), second = std::max(a.raw_data(), b.raw_data());
    CHECK(a.storage()->pool() == pool.get());
    CHECK(empty({3}).storage()->pool() == nullptr);  // of another device
    const PoolScope outside(nullptr);
    CHECK(empty({3}, {.device = kDevice}).storage()->pool() == nullptr);
  }
  CHECK(live() == 2);
  CHECK(pool->bytes() == 24);
  pool->close();
  {
    const PoolScope scope(pool);
    kept = empty({3}, {.device = kDevice});
    CHECK(kept.raw_data() == first);
    CHECK(empty({3}, {.device = kDevice}).raw_data() == second);
    CHECK(message_of([] { empty({4}, {.device = kDevice}); }) ==
          "host code: asks for 16 bytes of new memory, which no rehearsal did");
  }
  CHECK(empty({3}, {.device = kDevice}).storage()->pool() == nullptr);  // the scope is over
  pool.reset();
  CHECK(live() == 2);  // a tensor lives in it
  kept = {};
  CHECK(live() == 0);
}

TEST_CASE("captured graph: a replay computes from the values of now, and recording from none", "[unit][emulated]") {
  Tensor x = on_device({1, 2, 3}), sum = on_device({0, 0, 0}), y;
  CapturedGraph graph(kDevice);
  const auto work = [&] {
    y = ops::exp(x) * x;
    sum.add_(y);
  };
  for (int i = 0; i < 2; ++i) y = {}, graph.rehearse(work);
  const std::vector<double> twice = sum.to_vector(), last = y.to_vector();
  y = {};
  CHECK(message_of([&] { graph.replay(); }) == "captured graph: replayed before it was recorded");
  graph.record(work);
  CHECK(graph.recorded());
  CHECK(sum.to_vector() == twice);  // nothing was done
  x.copy_(on_device({4, -5, 0.5}));
  graph.replay();
  const Tensor expected = ops::exp(x) * x;
  CHECK(y.to_vector() == expected.to_vector());
  CHECK(y.to_vector() != last);
  graph.replay();
  CHECK(sum.to_vector() == (on_device(twice) + expected + expected).to_vector());
  CHECK(message_of([&] { graph.rehearse(work); }) == "captured graph: a rehearsal after the recording");
}

TEST_CASE("captured graph: replays allocate nothing, and tensors of the work lie still", "[unit][emulated]") {
  const Tensor x = on_device({1, 2, 3, 4});
  Tensor y;
  CapturedGraph graph(kDevice);
  const auto work = [&] { y = ops::exp(ops::exp(x) * 0.5) + ops::log(x); };
  std::vector<const void*> places;
  for (int i = 0; i < 3; ++i) {
    y = {};
    i < 2 ? graph.rehearse(work) : graph.record(work);
    places.push_back(y.raw_data());
  }
  CHECK(places[1] == places[2]);
  const MemoryStats before = allocator(kDevice).stats();
  for (int i = 0; i < 3; ++i) graph.replay();
  const MemoryStats after = allocator(kDevice).stats();
  CHECK(after.allocations == before.allocations);
  CHECK(after.live_bytes == before.live_bytes);
}

TEST_CASE("captured graph: it outlives the tensors that were made in it and before it", "[unit][emulated]") {
  Tensor out = on_device({0, 0, 0});
  std::optional<CapturedGraph> graph;
  {
    const Tensor w = on_device({2, 3, 5});
    graph.emplace(CapturedGraph::capture(kDevice, [&] {
      const Tensor inner = ops::exp(w);
      out.copy_(inner * w);
    }));
  }
  std::vector<Tensor> others;  // would take the memory of w and inner, were it free
  for (int i = 0; i < 20; ++i) others.push_back(full({3}, NAN, {.device = kDevice}));
  out.zero_();
  graph->replay();
  const Tensor w = on_device({2, 3, 5});
  CHECK(out.to_vector() == (ops::exp(w) * w).to_vector());
  graph.reset();
  CHECK(out.to_vector() == (ops::exp(w) * w).to_vector());
}

TEST_CASE("captured graph: what ops keep for later calls does not hold its memory", "[unit][emulated]") {
  const auto live = [] { return allocator(kDevice).stats().live_blocks; };
  const Tensor x = on_device({3, 4});
  ops::MultiTensorCache cache;
  const int64_t before = live();
  {
    Tensor norm;
    CapturedGraph graph = CapturedGraph::capture(kDevice, [&] {
      norm = {};
      norm = ops::global_norm(std::vector{x}, &cache);
      ops::rpe_indices(*ops::parse_rpe("rpe-1.9-product-ctx-1-k"), 3, 5, 2, kDevice);
    });
    graph.replay();
    CHECK(norm.item() == 5);
  }
  CHECK(live() == before + 1 + 2);  // the table of pointers; the ids of rows and columns
}

TEST_CASE("captured graph: what cannot be replayed is refused with the op's name", "[unit][emulated]") {
  const Tensor x = on_device({1, 2, 3}), image = zeros({1, 1, 4, 4}, {.device = kDevice});
  Tensor y = on_device({7, 7, 7});
  CHECK(refusal([&] { x.item(); }) == "item: needs exactly one element, got [3] f32 emulated");
  CHECK(refusal([&] { x.to_vector(); }) == "to_device: 12 bytes go from emulated to cpu, which a replay cannot repeat");
  CHECK(refusal([&] { y.copy_(zeros({3})); }) == "copy_: asks for 12 bytes of new memory, which no rehearsal did");
  CHECK(refusal([&] { ops::exp(x); }) == "exp: asks for 12 bytes of new memory, which no rehearsal did");
  CHECK(refusal([&] { synchronize(kDevice); }) == "host code: waits for emulated, whose work is not done but captured");
  CHECK(refusal([&] {
          const PoolScope outside(nullptr);
          empty_like(x);
        }) == "host code: asks for memory outside of the graph");
  CHECK(refusal([&] {
          CapturedGraph inner(kDevice);
          inner.record([] {});
        }) == "captured graph: recorded within another one");
  CHECK(message_of([] { CapturedGraph graph(Device::cpu()); }) ==
        "cpu: its work is done at once and cannot be captured");
  const auto resized = [&] { ops::interpolate(image, 8, 8, ops::Interpolation::bicubic); };
  CHECK(message_of([&] { CapturedGraph::capture(kDevice, resized); }) ==
        "interpolate: 32 bytes go from cpu to emulated, which a replay cannot repeat");

  // Nothing of a refused recording was done, and the device goes on.
  CapturedGraph graph(kDevice);
  const auto bad = [&] {
    y.fill_(1);
    y.to_vector();
  };
  graph.rehearse(bad);
  y.fill_(7);
  CHECK_THROWS_AS(graph.record(bad), CaptureError);
  CHECK(!graph.recorded());
  CHECK(y.to_vector() == std::vector<double>{7, 7, 7});
  y.fill_(8);
  CHECK(y.to_vector() == std::vector<double>{8, 8, 8});
}

TEST_CASE("captured graph: what a replay writes counts as written", "[unit][emulated]") {
  Tensor x = on_device({1, 2, 3});
  const Tensor source = on_device({4, 5, 6});
  CapturedGraph graph = CapturedGraph::capture(kDevice, [&] { x.copy_(source); });
  const Tensor w = on_device({1, 1, 1}).set_requires_grad();
  const Tensor y = x * w;  // keeps x
  graph.replay();
  CHECK(message_of([&] { y.backward({.gradient = source}); }) ==
        "mul: saved tensor [3] f32 emulated was changed in place by captured graph: version 5, saved at version 4");
  const uint64_t unread = source.storage()->version();
  graph.replay();
  CHECK(source.storage()->version() == unread);  // only read
}

TEST_CASE("captured graph: a product on the device's library is recorded too", "[unit][emulated]") {
  Generator rng{.seed = 3};
  const TensorOptions options{.device = kDevice};
  Tensor a = random_normal({256, 160}, rng, 0, 1, options), b = random_normal({160, 128}, rng, 0, 1, options), y;
  CapturedGraph graph = CapturedGraph::capture(kDevice, [&] { y = {}, y = ops::matmul(a, b); });
  b.copy_(random_normal({160, 128}, rng, 0, 1, options));
  graph.replay();
  CHECK(y.to_vector() == ops::matmul(a, b).to_vector());
}

TEST_CASE("upload: each replay takes what the host has set", "[unit][emulated]") {
  Upload number({}, {.dtype = Dtype::f32, .device = kDevice});
  const Tensor x = on_device({1, 2, 3});
  Tensor y;
  const auto set = [&](float v) { *number.host().mutable_data<float>() = v; };
  set(2);
  CapturedGraph graph = CapturedGraph::capture(kDevice, [&] {
    y = {};
    number.send();
    y = x * number.device();
  });
  set(-3);
  graph.replay();
  CHECK(y.to_vector() == std::vector<double>{-3, -6, -9});
  set(5);
  graph.replay();
  CHECK(y.to_vector() == std::vector<double>{5, 10, 15});

  Upload here({2}, {.dtype = Dtype::f64});
  here.host().mutable_data<double>()[1] = 4;
  here.send();
  CHECK(here.device().to_vector() == std::vector<double>{0, 4});
}

TEST_CASE("random draws count from a number in device memory", "[unit][emulated]") {
  const Tensor x = ones({3, 40}, {.device = kDevice});
  const Tensor base = from_vector({1000}, {}, {.dtype = Dtype::i64, .device = kDevice});
  Generator counted{.seed = 5, .base = reinterpret_cast<const uint64_t*>(base.data<int64_t>())}, plain{5, 1000};
  for (int i = 0; i < 2; ++i) {
    CHECK(ops::dropout(x, 0.5, counted.draw()).to_vector() == ops::dropout(x, 0.5, plain.draw()).to_vector());
    CHECK(ops::drop_path(x, 0.5, counted.draw()).to_vector() == ops::drop_path(x, 0.5, plain.draw()).to_vector());
  }
  CHECK(message_of([&] { random_normal({2}, counted); }) ==
        "random_normal: the host draws numbers, which a replay cannot repeat");
}
