#include <algorithm>
#include <cstring>
#include <string>

#include "core/cuda/emulator/emulator.h"
#include "core/cuda/kernel_hook.h"
#include "tests/core/cuda/runners.h"
#include "tests/support/catch.h"

namespace vitrine::testing {
namespace {

using emulator::LaunchError;
using emulator::Options;
using emulator::Order;

Words emulated(const std::string& name, const Words& arguments) { return run(name, DeviceType::emulated, arguments); }

std::string refusal(const Words& shape) {
  try {
    emulated("indices", shape);
  } catch (const LaunchError& e) {
    CHECK(e.thread == -1);
    return e.what();
  }
  return "";
}

using Catch::Matchers::ContainsSubstring;

std::string last_kernel;
int launches = 0;

}  // namespace

TEST_CASE("launch refuses what CUDA refuses, and skips an empty grid", "[unit][emulated]") {
  CHECK(refusal({1, 65536, 1, 1, 1, 1}) == "indices: launch: grid extent 65536 is out of range");
  CHECK(refusal({1, 1, 65536, 1, 1, 1}) == "indices: launch: grid extent 65536 is out of range");
  CHECK(refusal({1, 1, 1, 1025, 1, 1}) == "indices: launch: block extent 1025 is out of range");
  CHECK(refusal({1, 1, 1, 1, 1, 65}) == "indices: launch: block extent 65 is out of range");
  CHECK(refusal({1, 1, 1, 32, 33, 1}) == "indices: launch: 1056 threads per block, the limit is 1024");
  CHECK(refusal({1, 1, 1, 0, 1, 1}) == "indices: launch: block extent 0 is out of range");
  CHECK(refusal({0x80000000u, 0, 1, 1, 1, 1}) == "");  // no block at all
  const uint64_t before = emulator::stats().launches;
  CHECK(emulated("indices", {0, 3, 1, 32, 1, 1}).empty());
  CHECK(emulator::stats().launches == before);
}

TEST_CASE("launch reports each kernel to the hook of its thread", "[unit][emulated]") {
  launches = 0;
  trace::kernel_hook = [](const char* name) { last_kernel = name, ++launches; };
  emulated("ring", {5, 1});
  emulated("indices", {0, 1, 1, 1, 1, 1});
  trace::kernel_hook = nullptr;
  emulated("indices", {1, 1, 1, 1, 1, 1});
  CHECK(last_kernel == "ring");
  CHECK(launches == 1);
}

TEST_CASE("device memory is exact, poisoned, and copied within its bounds", "[unit][emulated]") {
  for (size_t bytes : {size_t(0), size_t(1), size_t(197), size_t(256), size_t(100000)}) {
    auto* const p = static_cast<unsigned char*>(emulator::device_malloc(bytes));
    CAPTURE(bytes);
    CHECK(reinterpret_cast<uintptr_t>(p) % 512 == 256);
    CHECK(std::all_of(p, p + bytes, [](unsigned char c) { return c == 0xFF; }));
    emulator::device_memset(p, 3, bytes);
    CHECK(std::all_of(p, p + bytes, [](unsigned char c) { return c == 3; }));
    emulator::device_free(p);
  }
  char host[32] = "the quick brown fox jumps";
  char* const p = static_cast<char*>(emulator::device_malloc(20));
  emulator::device_memcpy(p, host, 20);
  emulator::device_memcpy(p + 1, p, 10);  // overlapping: as if through a copy
  CHECK(!memcmp(p, "tthe quick ", 11));
  CHECK_THROWS_WITH(emulator::device_memcpy(p, host, 21),
                    "device_memcpy: destination: 21 bytes at offset 0 of a device block of 20 bytes");
  CHECK_THROWS_WITH(emulator::device_memcpy(host, p + 15, 6),
                    "device_memcpy: source: 6 bytes at offset 15 of a device block of 20 bytes");
  CHECK_THROWS_WITH(emulator::device_memset(p + 20, 0, 1),
                    "device_memset: 1 bytes at offset 20 of a device block of 20 bytes");
  CHECK_THROWS_AS(emulator::device_free(p + 1), CudaError);
  CHECK_THROWS_AS(emulator::device_free(host), CudaError);
  emulator::device_free(p);
  CHECK_THROWS_AS(emulator::device_free(p), CudaError);
  emulator::device_free(nullptr);
}

TEST_CASE("options are scoped, and random orders are functions of the seed", "[unit][emulated]") {
  const Options before = emulator::options();
  const auto switches = [](uint64_t seed) {
    Options o;
    o.order = Order::priority;
    o.seed = seed;
    const emulator::With with(o);
    CHECK(emulator::options().seed == seed);
    const uint64_t start = emulator::stats().switches;
    emulated("ring", {200, 5});
    emulated("reductions", {50, 1, 1});
    return emulator::stats().switches - start;
  };
  const uint64_t first = switches(11);
  CHECK(switches(11) == first);
  bool differs = false;
  for (uint64_t seed = 12; seed < 20; ++seed) differs = differs || switches(seed) != first;
  CHECK(differs);
  CHECK(emulator::options().seed == before.seed);
}

TEST_CASE("an abandoned launch leaves a device that works", "[unit][emulated]") {
  for (int i = 0; i < 3; ++i) {
    CHECK_THROWS_AS(emulated("faulty/barrier_against_syncwarp", {0}), LaunchError);
    CHECK_THROWS_AS(emulated("faulty/return_before_barrier", {0}), LaunchError);
    const Words out = emulated("ring", {1024, 1});
    for (uint32_t t = 0; t < 1024; ++t) REQUIRE(out[t] == (t + 1) % 1024);
  }
}

TEST_CASE("a lane that has ended is missed by those who come later", "[unit][emulated]") {
  Options o;
  o.order = Order::descending;  // lanes 31 to 16 end before lane 15 comes
  const emulator::With with(o);
  CHECK_THROWS_WITH(emulated("faulty/shuffle_without_all_lanes", {0}), ContainsSubstring("can never come"));
}

TEST_CASE("blocks may be shared by several workers", "[unit][emulated]") {
  const Words shape = {50, 3, 2, 33, 2, 1};
  const Words expected = emulated("indices", shape);
  Options o;
  o.workers = 3;
  const emulator::With with(o);
  CHECK((emulated("indices", shape) == expected));
  CHECK_THROWS_AS(emulated("faulty/divergent_barrier", {0}), LaunchError);
  CHECK((emulated("indices", shape) == expected));
}

TEST_CASE("built-ins outside of a kernel are errors", "[unit][emulated]") {
  CHECK_THROWS_AS(emulator::lane(), CudaError);
  CHECK_THROWS_AS(emulator::block_barrier("here"), CudaError);
  CHECK_THROWS_WITH(emulator::fail("%d bottles", 7), "7 bottles");
}

}  // namespace vitrine::testing
