#include <sys/resource.h>

#include "core/allocator.h"
#include "core/autograd.h"
#include "core/cuda/emulator/emulator.h"
#include "core/parallel.h"
#include "core/tensor.h"
#include "core/trace.h"
#include "ops/pad/pad.h"
#include "tests/support/catch.h"
#include "tests/support/report.h"

using namespace vitrine;

TEST_CASE("the allocator counts what lives", "[unit][threads]") {
  Allocator& cpu = allocator(Device::cpu());
  const MemoryStats before = cpu.stats();
  {
    const Tensor a = empty({1000});
    CHECK(cpu.stats().live_bytes >= before.live_bytes + 4000);
    CHECK(cpu.stats().live_blocks == before.live_blocks + 1);
    CHECK(reinterpret_cast<uintptr_t>(a.raw_data()) % 64 == 0);
  }
  CHECK(cpu.stats().live_bytes == before.live_bytes);
}

TEST_CASE("the allocator reuses what was freed", "[unit]") {
  if (emulator::flavour() != emulator::Flavour::plain) return;  // sanitizers must see every block's own life
  Allocator& cpu = allocator(Device::cpu());
  empty({1000});
  const int64_t system = cpu.stats().system_allocations;
  for (int i = 0; i < 10; ++i) empty({1000});
  CHECK(cpu.stats().system_allocations == system);
}

TEST_CASE("the address sanitizer sees the first byte behind a tensor", "[unit][emulated]") {
  if (emulator::flavour() != emulator::Flavour::asan) return;
  for (const Device device : {Device::cpu(), Device::emulated()})
    for (const int64_t bytes : {1, 65, 1000, 17664}) {
      CAPTURE(to_string(device), bytes);
      const auto report = [&](size_t length) {
        return testing::report_of([&] {
          const Tensor t = empty({bytes}, {.dtype = Dtype::u8, .device = device});
          std::vector<char> copy(length);
          std::memcpy(copy.data(), t.raw_data(), length);  // which the sanitizer watches in any program
        });
      };
      CHECK(report(size_t(bytes)) == "");
      CHECK_THAT(report(size_t(bytes) + 1), testing::Contains("AddressSanitizer"));
    }
}

TEST_CASE("peak and largest block", "[unit]") {
  Allocator& cpu = allocator(Device::cpu());
  cpu.reset_peak();
  const int64_t live = cpu.stats().live_bytes;
  { const Tensor a = empty({1 << 20}, {.dtype = Dtype::u8}), b = empty({1 << 18}, {.dtype = Dtype::u8}); }
  CHECK(cpu.stats().peak_bytes == live + (1 << 20) + (1 << 18));
  CHECK(cpu.stats().largest_block == 1 << 20);
}

TEST_CASE("memory checks fill with NaN and find an overrun", "[unit]") {
  set_memory_checks(true);
  {
    Tensor a = empty({3});
    for (double v : a.to_vector()) CHECK(v != v);
    check_guards();
    volatile float* p = a.mutable_data<float>();
    p[3] = 1;  // lands in the guard zone
  }
  set_memory_checks(false);
  CHECK_THROWS_WITH(check_guards(), "memory: a block of 12 bytes on cpu was overrun at byte 12");
  CHECK_NOTHROW(check_guards());
}

TEST_CASE("running out of memory says what was asked and what lives", "[unit]") {
  CHECK_THROWS_AS(empty({int64_t(1) << 61}, {.dtype = Dtype::u8}), OutOfMemory);
  CHECK_THROWS_AS(empty({int64_t(1) << 40, int64_t(1) << 40}), OutOfMemory);
  track_blocks(true);
  const Tensor keep = empty({1000});
  const size_t limit = size_t(allocator(Device::cpu()).stats().live_bytes) + 4096;
  set_cpu_memory_limit(limit);
  CHECK_THROWS_WITH(empty({1 << 20}), testing::Contains("out of memory on cpu: asked for 4194304 bytes") &&
                                          testing::Contains("the largest 4000 bytes by host code"));
  CHECK_NOTHROW(empty({10}));  // nothing is lost
  set_cpu_memory_limit(0);
  CHECK(allocator(Device::cpu()).snapshot().front().bytes == 4000);
  track_blocks(false);
}

TEST_CASE("a request beyond memory is refused on each device of the host", "[unit][emulated]") {
  if (emulator::flavour() == emulator::Flavour::asan) return;  // its malloc ends the process
  rlimit before;
  getrlimit(RLIMIT_AS, &before);
  rlimit lower = before;
  lower.rlim_cur = std::min(before.rlim_max, rlim_t(512) << 30);  // a system may promise more than it has
  REQUIRE(setrlimit(RLIMIT_AS, &lower) == 0);
  for (const Device device : {Device::cpu(), Device::emulated()})
    for (const bool checks : {false, true}) {
      CAPTURE(to_string(device), checks);
      set_memory_checks(checks);
      {
        const Tensor x = zeros({1}, {.device = device});
        const int64_t blocks = allocator(device).stats().live_blocks;
        CHECK_THROWS_WITH(
            ops::pad(x, {{0, 224'999'999'999}}),
            Catch::StartsWith(format("pad: out of memory on {}: asked for 900000000000 bytes, ", device)) &&
                testing::Contains(format(" bytes live in {} blocks, ", blocks)));
        CHECK(allocator(device).stats().live_blocks == blocks);
        CHECK(ops::pad(x, {{0, 2}}).to_vector() == std::vector<double>{0, 0, 0});
      }
      set_memory_checks(false);
    }
  setrlimit(RLIMIT_AS, &before);
}

TEST_CASE("threads share an allocator", "[unit][threads]") {
  const int64_t live = allocator(Device::cpu()).stats().live_blocks;
  parallel_for(64, 1, [](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Tensor mine = full({100 + i % 5}, double(i));
      for (double v : mine.to_vector())
        if (v != double(i)) throw Error("a block was handed out twice");
    }
  });
  CHECK(allocator(Device::cpu()).stats().live_blocks == live);
}
