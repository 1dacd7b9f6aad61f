#include "core/attributes.h"

namespace vitrine {
namespace {

template <class T>
std::string join(const std::vector<T>& values) {
  std::string s = "[";
  for (size_t i = 0; i < values.size(); ++i) s += (i ? ", " : "") + to_string(values[i]);
  return s + "]";
}

template <class T>
const T* get(const Attributes& attributes, const char* name, const char* kind) {
  const AttributeValue* value = attributes.find(name);
  if (!value) return nullptr;
  const T* found = std::get_if<T>(value);
  check<ValueError>(found != nullptr, "attribute '{}' must be {}, got {}", name, kind, *value);
  return found;
}

template <class T>
const T& require(const T* found, const char* name) {
  check<ValueError>(found != nullptr, "attribute '{}' is missing", name);
  return *found;
}

}  // namespace

std::string to_string(const AttributeValue& value) {
  return std::visit(
      []<class V>(const V& v) -> std::string {
        if constexpr (std::is_same_v<V, std::vector<int64_t>> || std::is_same_v<V, std::vector<double>>) {
          return join(v);
        } else {
          return to_string(v);
        }
      },
      static_cast<const AttributeValue::variant&>(value));
}

const AttributeValue* Attributes::find(std::string_view name) const {
  for (const auto& [key, value] : *this)
    if (key == name) return &value;
  return nullptr;
}

int64_t Attributes::integer(const char* name) const { return require(get<int64_t>(*this, name, "an integer"), name); }
int64_t Attributes::integer(const char* name, int64_t otherwise) const {
  return find(name) ? integer(name) : otherwise;
}

double Attributes::number(const char* name) const {
  const AttributeValue* value = find(name);
  if (value && std::holds_alternative<int64_t>(*value)) return double(std::get<int64_t>(*value));
  return require(get<double>(*this, name, "a number"), name);
}
double Attributes::number(const char* name, double otherwise) const { return find(name) ? number(name) : otherwise; }

bool Attributes::flag(const char* name, bool otherwise) const {
  const bool* found = get<bool>(*this, name, "true or false");
  return found ? *found : otherwise;
}

std::string Attributes::text(const char* name) const { return require(get<std::string>(*this, name, "a text"), name); }
std::string Attributes::text(const char* name, const std::string& otherwise) const {
  return find(name) ? text(name) : otherwise;
}

std::vector<int64_t> Attributes::integers(const char* name) const {
  return require(get<std::vector<int64_t>>(*this, name, "a list of integers"), name);
}

std::vector<double> Attributes::numbers(const char* name) const {
  const AttributeValue* value = find(name);
  if (value && std::holds_alternative<std::vector<int64_t>>(*value)) {
    const auto& list = std::get<std::vector<int64_t>>(*value);
    return {list.begin(), list.end()};
  }
  return require(get<std::vector<double>>(*this, name, "a list of numbers"), name);
}

}  // namespace vitrine
