#include <algorithm>
#include <cstring>
#include <string>

#include "core/allocator.h"
#include "core/cuda/emulator/emulator.h"
#include "core/cuda/kernel_hook.h"
#include "tests/apps/run_program.h"
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

using vitrine::testing::Contains;

/// What "list what the environment sets" prints in a process with these variables in its environment.
nlohmann::json set_by(const std::map<std::string, std::string>& variables) {
  for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
  const Finished child = run_file(std::filesystem::read_symlink("/proc/self/exe"), {"list what the environment sets"});
  for (const auto& [name, value] : variables) unsetenv(name.c_str());
  const size_t begin = child.out.find("\n{");
  REQUIRE(begin != std::string::npos);
  return nlohmann::json::parse(child.out.substr(begin, child.out.find("}\n", begin) + 1 - begin));
}

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

TEST_CASE("list what the environment sets", "[.child]") {
  nlohmann::json found;
  try {
    const Options& o = emulator::options();
    found = {{"order", int(o.order)}, {"seed", o.seed}, {"workers", o.workers}, {"memory checks", memory_checks()}};
    emulated("faulty/divergent_barrier", {0});
  } catch (const CudaError& e) {
    found["error"] = e.what();
  }
  std::printf("\n%s\n", found.dump().c_str());
}

TEST_CASE("the environment sets order, seed, workers and memory checks, and failures print order and seed",
          "[unit][emulated]") {
  nlohmann::json found = set_by({{"VITRINE_EMULATOR_ORDER", "descending"}, {"VITRINE_MEMORY_CHECKS", "0"}});
  CHECK(found["order"] == int(Order::descending));
  CHECK(found["memory checks"] == false);
  CHECK_THAT(found["error"].get<std::string>(), Catch::EndsWith("; order descending]"));
  found = set_by({{"VITRINE_EMULATOR_ORDER", "priority"},
                  {"VITRINE_EMULATOR_SEED", "0x17"},
                  {"VITRINE_EMULATOR_WORKERS", "3"},
                  {"VITRINE_MEMORY_CHECKS", "1"}});
  CHECK(found["order"] == int(Order::priority));
  CHECK(found["seed"] == 23);
  CHECK(found["workers"] == 3);
  CHECK(found["memory checks"] == true);
  CHECK_THAT(found["error"].get<std::string>(), Catch::EndsWith("; order priority, seed 23]"));
  found = set_by({{"VITRINE_EMULATOR_ORDER", "sideways"}});
  CHECK(found["error"] == "VITRINE_EMULATOR_ORDER=sideways: not an order of the emulator");
}

TEST_CASE("an abandoned launch leaves a device that works", "[unit][emulated]") {
  for (int i = 0; i < 3; ++i) {
    CHECK_THROWS_AS(emulated("faulty/barrier_against_syncwarp", {0}), LaunchError);
    CHECK_THROWS_AS(emulated("faulty/return_before_barrier", {0}), LaunchError);
    const Words out = emulated("ring", {1024, 1});
    for (uint32_t t = 0; t < 1024; ++t) REQUIRE(out[t] == (t + 1) % 1024);
  }
}

TEST_CASE("a launch without memory for its stacks is abandoned", "[unit][emulated]") {
  const auto failure = [](size_t stack, int workers) -> std::string {
    Options o;
    o.stack = stack;
    o.workers = workers;
    const emulator::With with(o);
    try {
      emulated("indices", {2, 1, 1, 1, 1, 1});
      emulated("ring", {1024, 1});
    } catch (const LaunchError& e) {
      return e.what();
    }
    return "";
  };
  constexpr size_t kNever = size_t(1) << 60, kOnce = size_t(1) << 46;  // of 2^47 bytes of addresses
  for (const int workers : {1, 2})
    CHECK_THAT(failure(kNever, workers),
               Catch::StartsWith("indices: out of memory on emulated: asked for 1152921504606") &&
                   Contains(" bytes for the stack of a thread, 0 stacks live [block "));
  if (emulator::flavour() != emulator::Flavour::asan)  // it would note the state of each byte
    CHECK_THAT(failure(kOnce, 1), Catch::StartsWith("ring: out of memory on emulated: asked for 70368744") &&
                                      Contains(" bytes for the stack of a thread, 1 stacks live [block 0,0,0 thread "));
  const Words out = emulated("ring", {1024, 1});
  for (uint32_t t = 0; t < 1024; ++t) REQUIRE(out[t] == (t + 1) % 1024);
}

TEST_CASE("a lane that has ended is missed by those who come later", "[unit][emulated]") {
  Options o;
  o.order = Order::descending;  // lanes 31 to 16 end before lane 15 comes
  const emulator::With with(o);
  CHECK_THROWS_WITH(emulated("faulty/shuffle_without_all_lanes", {0}), Contains("can never come"));
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
