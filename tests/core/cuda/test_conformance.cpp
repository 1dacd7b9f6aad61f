#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "core/cuda/emulator/emulator.h"
#include "core/float16.h"
#include "tests/core/cuda/runners.h"
#include "tests/support/catch.h"

// The built-ins and wrappers that kernels are made of, against definitions written here from the CUDA and PTX manuals;
// and the emulated device against a GPU, bit for bit. Until the latter has passed once, fragment layouts are believed,
// not known.
namespace vitrine::testing {
namespace {

using emulator::Options;
using emulator::Order;

uint32_t bits_of(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return u;
}
float float_of(uint32_t u) {
  float x;
  memcpy(&x, &u, 4);
  return x;
}

// Floats around every 16-bit pattern of both types: the value itself, the tie above it, and the neighbours of the tie.
Words rounding_patterns() {
  Words in;
  for (uint32_t p = 0; p < 65536; ++p) {
    for (uint32_t low : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) in.push_back(p << 16 | low);
    if ((p & 0x7C00) == 0x7C00) continue;
    f16 h, next;
    h.bits = uint16_t(p), next.bits = uint16_t(p + 1);
    // The tie between two neighbours; above the largest value that is 65520.
    const float tie = (p & 0x7FFF) == 0x7BFF ? std::copysign(65520.0f, float(h)) : 0.5f * (float(h) + float(next));
    for (float x : {float(h), tie, std::nextafter(tie, 0.0f), std::nextafter(tie, 2 * tie)}) in.push_back(bits_of(x));
  }
  return in;
}

// Every conformance run: runner and arguments.
std::vector<std::pair<std::string, Words>> all_runs() {
  std::vector<std::pair<std::string, Words>> runs;
  for (const char* type : {"int", "int64", "float", "double"}) runs.push_back({std::string("shuffles ") + type, {}});
  for (uint32_t mask : {0xFFFFFFFFu, 0x0000FFFFu, 0xAAAAAAAAu, 0x00F00001u, 0x80000000u, 0x7FFFFFFFu}) {
    runs.push_back({"partial_masks", {mask}});
  }
  for (const char* name : {"disjoint_masks", "syncwarp", "shared_arrays", "atomics", "warp_reductions", "widen"}) {
    runs.push_back({name, {}});
  }
  for (uint32_t threads : {1u, 31u, 32u, 33u, 40u, 97u, 1000u, 1024u}) {
    runs.push_back({"partial_warp", {threads}});
    runs.push_back({"ring", {threads, 3}});
    runs.push_back({"barrier_votes", {threads}});
    runs.push_back({"reductions", {threads, 1, 1}});
  }
  for (const Words& shape : {Words{1, 1, 1, 1, 1, 1}, Words{2, 3, 2, 5, 4, 3}, Words{7, 1, 2, 1, 32, 1}}) {
    runs.push_back({"indices", shape});
  }
  for (const Words& shape : {Words{4, 4, 4}, Words{5, 3, 2}, Words{1, 1, 64}}) runs.push_back({"reductions", shape});
  for (const char* pack : {"f32 4", "f32 2", "f64 4", "bf16 4", "bf16 8", "bf16 2"}) {
    for (uint32_t n : {1u, 8u, 197u}) runs.push_back({std::string("packs ") + pack, {n}});
  }
  for (uint32_t times : {1u, 5u}) runs.push_back({"mma", {times}});
  for (const char* name : {"mma_from_shared", "ldmatrix_x2", "ldmatrix_x2 trans", "ldmatrix_x4", "ldmatrix_x4 trans"}) {
    runs.push_back({name, {}});
  }
  for (int stages = 1; stages <= 4; ++stages) {
    for (uint32_t tiles : {1u, 3u, 9u}) runs.push_back({"pipeline " + std::to_string(stages), {tiles}});
  }
  runs.push_back({"packs", rounding_patterns()});
  runs.push_back({"narrow", rounding_patterns()});
  return runs;
}

Words emulated(const std::string& name, const Words& arguments = {}) {
  return run(name, DeviceType::emulated, arguments);
}

// Which lane `lane` hears: the CUDA programming guide, "Warp Shuffle Functions".
int heard(int kind, int lane, int amount, int width) {
  const int first = lane / width * width, last = first + width - 1;
  const int from = kind == 0   ? first + amount % width
                   : kind == 1 ? lane - amount
                   : kind == 2 ? lane + amount
                               : lane ^ amount;
  if (kind == 1 && from < first) return lane;
  if (kind >= 2 && from > last) return lane;
  return from;
}

// Nearest 16-bit value by search over all finite patterns, ties to the even pattern: no arithmetic in common with
// float16.h.
template <class T>
class Nearest {
 public:
  explicit Nearest(double overflow) : overflow_(overflow) {
    for (uint32_t p = 0; p < 0x8000; ++p) {
      T x;
      x.bits = uint16_t(p);
      if (std::isfinite(float(x))) values_.push_back(double(float(x)));  // ascending in p
    }
  }
  uint16_t operator()(float f) const {
    const uint16_t sign = std::signbit(f) ? 0x8000 : 0;
    const double x = std::fabs(double(f));
    if (x >= overflow_) return uint16_t(sign | values_.size());  // the pattern after the largest is infinity
    const size_t above = size_t(std::lower_bound(values_.begin(), values_.end(), x) - values_.begin());
    if (above == values_.size()) return uint16_t(sign | (above - 1));
    if (values_[above] == x) return uint16_t(sign | above);
    const double up = values_[above] - x, down = x - values_[above - 1];
    return uint16_t(sign | (up < down || (up == down && above % 2 == 0) ? above : above - 1));
  }

 private:
  std::vector<double> values_;
  double overflow_;
};

}  // namespace

TEST_CASE("emulator: shuffles of every kind, width, distance and type", "[unit][emulated]") {
  for (const char* type : {"int", "int64", "float", "double"}) {
    const Words out = emulated(std::string("shuffles ") + type);
    size_t wrong = 0, i = 0;
    for (int kind = 0; kind < 4; ++kind) {
      for (int width = 1; width <= 32; width *= 2) {
        for (int amount = 0; amount < 32; ++amount) {
          for (int lane = 0; lane < 32; ++lane) wrong += out[i++] != uint32_t(heard(kind, lane, amount, width));
        }
      }
    }
    CAPTURE(type);
    CHECK(wrong == 0);
  }
}

TEST_CASE("emulator: votes, reductions and matches over partial masks", "[unit][emulated]") {
  for (uint32_t mask : {0xFFFFFFFFu, 0x0000FFFFu, 0xAAAAAAAAu, 0x00F00001u, 0x80000000u, 0x7FFFFFFFu}) {
    const Words out = emulated("partial_masks", {mask});
    std::vector<int> lanes;
    for (int l = 0; l < 32; ++l) {
      if (mask >> l & 1) lanes.push_back(l);
    }
    const auto where = [&](const std::function<bool(int)>& f) {
      uint32_t m = 0;
      for (int l : lanes) m |= uint32_t(f(l)) << l;
      return m;
    };
    uint32_t sum = 0, largest = 0, conjunction = ~0u, odd = 0;
    for (int l : lanes) {
      sum += uint32_t(5 - l), largest = std::max(largest, uint32_t(l) * 0x10000001u);
      conjunction &= 0xFFFFFFF0u | uint32_t(l), odd ^= 0x01010101u * uint32_t(l);
    }
    for (int l = 0; l < 32; ++l) {
      const uint32_t* const mine = &out[size_t(8 * l)];
      CAPTURE(mask, l);
      if (!(mask >> l & 1)) {
        CHECK(std::all_of(mine, mine + 8, [](uint32_t x) { return x == 0; }));
        continue;
      }
      CHECK(mine[0] == where([](int k) { return k % 3 == 0; }));
      CHECK(mine[1] == ((mask >> 5 & 1) | (mask >> 31 ? 0u : 2u)));
      CHECK(mine[2] == sum);
      CHECK(mine[3] == uint32_t(5 - lanes.back()));
      CHECK(mine[4] == largest);
      CHECK(mine[5] == (conjunction ^ mask ^ odd));
      CHECK(mine[6] == where([l](int k) { return k / 5 == l / 5; }));
      CHECK(mine[7] == where([l](int k) { return k % 2 == l % 2; }));
    }
  }
}

TEST_CASE("emulator: disjoint masks, partial warps, __syncwarp", "[unit][emulated]") {
  const Words halves = emulated("disjoint_masks");
  for (size_t lane = 0; lane < 32; ++lane) CHECK(halves[lane] == (lane < 16 ? 120u : 0xAAAA0000u));
  for (uint32_t threads : {1u, 31u, 32u, 33u, 40u, 97u, 1000u, 1024u}) {
    const Words out = emulated("partial_warp", {threads});
    for (uint32_t t = 0; t < threads; ++t) {
      const uint32_t first = t / 32 * 32, lanes = std::min(32u, threads - first);
      CHECK(out[t] == ((lanes == 32 ? ~0u : (1u << lanes) - 1) ^ first));
    }
  }
  const Words moved = emulated("syncwarp");
  for (uint32_t t = 0; t < 128; ++t) CHECK(moved[t] == (t + 5) % 32);
}

TEST_CASE("emulator: indices, barriers and shared memory for blocks of every size", "[unit][emulated]") {
  for (const Words& s : {Words{1, 1, 1, 1, 1, 1}, Words{2, 3, 2, 5, 4, 3}, Words{7, 1, 2, 1, 32, 1}}) {
    const Words out = emulated("indices", s);
    size_t i = 0, wrong = 0;
    for (uint32_t bz = 0; bz < s[2]; ++bz)
      for (uint32_t by = 0; by < s[1]; ++by)
        for (uint32_t bx = 0; bx < s[0]; ++bx)
          for (uint32_t z = 0; z < s[5]; ++z)
            for (uint32_t y = 0; y < s[4]; ++y)
              for (uint32_t x = 0; x < s[3]; ++x)
                wrong += out[i++] != x + 10 * y + 100 * z + 1000 * bx + 10000 * by + 100000 * bz;
    CHECK(wrong == 0);
  }
  for (uint32_t threads = 1; threads <= 1024; threads += threads < 70 ? 1 : 53) {
    const Words out = emulated("ring", {threads, 3});
    size_t wrong = 0;
    for (uint32_t t = 0; t < threads; ++t) wrong += out[t] != (t + 3) % threads;
    CAPTURE(threads);
    CHECK(wrong == 0);
    const uint32_t votes = (threads + 2) / 3 * 4 + (threads > 7) * 2 + (threads <= 64);
    CHECK(emulated("barrier_votes", {threads}) == Words(threads, votes));
  }
  const Words arrays = emulated("shared_arrays");
  for (uint32_t t = 0; t < 96; ++t) CHECK(arrays[t] == (t % 2 * 48 + t / 2) * 1000 + (95 - t) + 5);
}

TEST_CASE("emulator: atomics", "[unit][emulated]") {
  const Words out = emulated("atomics");
  uint32_t sum = 0, any = 0, parity = 0;
  for (uint32_t t = 0; t < 150; ++t) sum += t, any |= 1u << t % 32, parity ^= 1u << t % 5;
  CHECK(out == Words{sum, ~sum + 1, any, 0xFFFF0000u, parity, sum, uint32_t(-49), 49u, 150 % 10, 77, 5});
}

TEST_CASE("block_reduce and warp_reduce give every thread the result", "[unit][emulated]") {
  std::vector<Words> shapes = {{4, 4, 4}, {5, 3, 2}, {1, 1, 64}, {1024, 1, 1}};
  for (uint32_t threads = 1; threads < 140; ++threads) shapes.push_back({threads, 1, 1});
  for (const Words& s : shapes) {
    const int threads = int(s[0] * s[1] * s[2]);
    const Words out = emulated("reductions", s);
    size_t wrong = 0;
    for (int block = 0; block < 2; ++block) {
      int sum = 0, largest = -1000, least = 1000;
      for (int t = 0; t < threads; ++t) {
        const int value = t * t % 53 - block;
        sum += value, largest = std::max(largest, value), least = std::min(least, value);
      }
      for (int t = 0; t < threads; ++t) {
        const uint32_t* const mine = &out[size_t(3 * (block * threads + t))];
        wrong += mine[0] != uint32_t(sum) || mine[1] != uint32_t(largest) || mine[2] != uint32_t(least + sum + threads);
      }
    }
    CAPTURE(s);
    CHECK(wrong == 0);
  }
  const Words out = emulated("warp_reductions");
  for (uint32_t t = 0; t < 64; ++t) CHECK(out[t] == (t < 32 ? 496u : 1520u) * 1000 + 18);
}

TEST_CASE("vector loads and stores keep the order of elements", "[unit][emulated]") {
  const std::map<std::string, uint32_t> packs = {{"f32 4", 4},  {"f32 2", 2},  {"f64 4", 4},
                                                 {"bf16 4", 4}, {"bf16 8", 8}, {"bf16 2", 2}};
  for (const auto& [name, n] : packs) {
    for (uint32_t count : {1u, 8u, 197u}) {
      const Words out = emulated("packs " + name, {count});
      size_t wrong = 0;
      for (uint32_t i = 0; i < count; ++i) {
        const uint32_t first = i / n * n;
        wrong += out[i] != (first + n <= count ? first + (i - first + 1) % n : i) % 256;
      }
      CAPTURE(name, count);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("mma and ldmatrix follow the documented fragments", "[unit][emulated]") {
  const auto product = [](bool with_c, int times) {
    Words d;
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        int sum = 0;
        for (int k = 0; k < 16; ++k) {
          sum += small_integer(1, uint32_t(16 * row + k)) * small_integer(2, uint32_t(8 * k + column));
        }
        d.push_back(bits_of(float(times * sum + (with_c ? small_integer(3, uint32_t(8 * row + column)) : 0))));
      }
    }
    return d;
  };
  CHECK(emulated("mma", {1}) == product(true, 1));
  CHECK(emulated("mma", {5}) == product(true, 5));
  CHECK(emulated("mma_from_shared") == product(false, 1));
  for (uint32_t count : {2u, 4u}) {
    for (bool transpose : {false, true}) {
      const Words out = emulated("ldmatrix_x" + std::to_string(count) + (transpose ? " trans" : ""));
      size_t wrong = 0;
      for (uint32_t lane = 0; lane < 32; ++lane) {
        for (uint32_t m = 0; m < 4; ++m) {
          const auto element = [&](uint32_t i) {  // of matrix m, in the tile of the kernel
            const uint32_t a = lane / 4, b = 2 * (lane % 4) + i, row = transpose ? b : a, column = transpose ? a : b;
            return 64 * (8 * (m % 2) + row) + 8 * (m / 2) + column;
          };
          wrong += out[4 * lane + m] != (m < count ? element(0) | element(1) << 16 : 0);
        }
      }
      CAPTURE(count, transpose);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("cp.async pipelines of one to four stages", "[unit][emulated]") {
  for (int stages = 1; stages <= 4; ++stages) {
    for (uint32_t tiles : {1u, 2u, 3u, 4u, 5u, 9u}) {
      const Words out = emulated("pipeline " + std::to_string(stages), {tiles});
      size_t wrong = 0;
      for (uint32_t t = 0; t < 64; ++t) {
        uint32_t sum = 0;
        for (uint32_t tile = 0; tile < tiles; ++tile) {
          for (uint32_t i = 0; i < 4; ++i) sum = sum * 3 + (tile * 256 + 4 * ((t + 5) % 64) + i) * 7 + 1;
        }
        wrong += out[t] != sum;
      }
      CAPTURE(stages, tiles);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("bf16 and f16 conversions over all patterns and ties", "[unit][emulated]") {
  const Words wide = emulated("widen");
  size_t wrong = 0;
  for (uint32_t p = 0; p < 65536; ++p) {
    wrong += wide[2 * p] != p << 16;
    const uint32_t sign = p >> 15, exponent = p >> 10 & 31, fraction = p & 1023;
    const float x = float_of(wide[2 * p + 1]);
    const double value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024.0 + fraction, int(exponent) - 25);
    if (exponent == 31) {
      wrong += fraction ? !std::isnan(x) : !std::isinf(x);
    } else {
      wrong += double(x) != (sign ? -value : value);
    }
    wrong += std::signbit(x) != (sign == 1);
  }
  CHECK(wrong == 0);

  const Nearest<bf16> to_bf16(std::ldexp(511.0, 119));  // halfway between the largest bf16 and 2^128
  const Nearest<f16> to_f16(65520.0);
  const Words in = rounding_patterns(), out = emulated("narrow", in), pairs = emulated("packs", in);
  size_t wrong_bf16 = 0, wrong_f16 = 0, wrong_pack = 0;
  for (size_t i = 0; i < in.size(); ++i) {
    const float x = float_of(in[i]);
    const uint32_t b = out[i] & 0xFFFF, h = out[i] >> 16;
    if (std::isnan(x)) {
      wrong_bf16 += (b & 0x7F80) != 0x7F80 || (b & 0x7F) == 0;
      wrong_f16 += (h & 0x7C00) != 0x7C00 || (h & 0x3FF) == 0;
      wrong_pack += (pairs[i] & 0xFFFF) != 0x7FFF;
      continue;
    }
    wrong_bf16 += b != to_bf16(x);
    wrong_f16 += h != to_f16(x);
    wrong_pack += (pairs[i] & 0xFFFF) != b || (pairs[in.size() - 1 - i] >> 16) != b;
  }
  CHECK(wrong_bf16 == 0);
  CHECK(wrong_f16 == 0);
  CHECK(wrong_pack == 0);
}

TEST_CASE("emulator: every order gives the same results", "[unit][emulated]") {
  std::vector<Options> schedules(9);
  schedules[0].order = Order::descending;
  for (size_t i = 1; i < 9; ++i) {
    schedules[i].order = i <= 5 ? Order::priority : Order::uniform;
    schedules[i].seed = i;
  }
  schedules[8].preempt = 0.1;
  schedules[7].workers = 2;
  for (const auto& [name, arguments] : all_runs()) {
    if (arguments.size() > 1000) continue;  // elementwise
    const Words expected = emulated(name, arguments);
    for (const Options& o : schedules) {
      const emulator::With with(o);
      CAPTURE(name, arguments, int(o.order), o.seed);
      CHECK((emulated(name, arguments) == expected));
    }
  }
}

TEST_CASE("conformance: the emulated device and a GPU agree bit for bit", "[cuda][emulated]") {
  if (!has_runner("present", DeviceType::cuda) || !run("present", DeviceType::cuda)[0]) {
    WARN("SKIPPED: no cuda device");
    return;
  }
  for (const auto& [name, arguments] : all_runs()) {
    const Words here = emulated(name, arguments), there = run(name, DeviceType::cuda, arguments);
    REQUIRE(here.size() == there.size());
    size_t differ = 0, first = 0;
    for (size_t i = here.size(); i-- > 0;) {
      if (here[i] != there[i]) ++differ, first = i;
    }
    CAPTURE(name, differ, first, here[first], there[first]);
    CHECK(differ == 0);
  }
}

}  // namespace vitrine::testing
