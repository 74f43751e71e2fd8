#include "hw_backend/host/link_messages.hpp"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstring>

namespace ferry::host {
namespace {

/// A message that grows; lengths of what is nested are filled in when it ends.
class Message {
 public:
  Message(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence,
          std::uint32_t interface_index) {
    const nlmsghdr header{.nlmsg_len = 0,
                          .nlmsg_type = type,
                          .nlmsg_flags = flags,
                          .nlmsg_seq = sequence,
                          .nlmsg_pid = 0};
    ifinfomsg link{};
    link.ifi_index = static_cast<int>(interface_index);
    append(&header, sizeof header);
    append(&link, sizeof link);
  }

  void attribute(std::uint16_t type, const void* value, std::size_t size) {
    const std::size_t at = begin(type);
    append(value, size);
    end(at);
  }
  [[nodiscard]] std::size_t begin(std::uint16_t type) {
    const std::size_t at = bytes_.size();
    const rtattr header{.rta_len = 0, .rta_type = type};
    append(&header, sizeof header);
    return at;
  }
  void end(std::size_t at) {
    const auto length = static_cast<std::uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &length, sizeof length);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  [[nodiscard]] std::vector<std::byte> take() {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &length, sizeof length);
    return std::move(bytes_);
  }

 private:
  void append(const void* from, std::size_t size) {
    const auto* const first = static_cast<const std::byte*>(from);
    bytes_.insert(bytes_.end(), first, first + size);
  }

  std::vector<std::byte> bytes_;
};

std::vector<std::byte> link_change(std::uint32_t interface_index, std::uint32_t sequence,
                                   std::uint16_t type, const void* value, std::size_t size) {
  Message message(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, sequence, interface_index);
  const std::size_t list = message.begin(IFLA_VFINFO_LIST);
  const std::size_t function = message.begin(IFLA_VF_INFO);
  message.attribute(type, value, size);
  message.end(function);
  message.end(list);
  return message.take();
}

std::uint32_t state_of(Policy policy) {
  switch (policy) {
    case Policy::follow: return IFLA_VF_LINK_STATE_AUTO;
    case Policy::up: return IFLA_VF_LINK_STATE_ENABLE;
    case Policy::down: return IFLA_VF_LINK_STATE_DISABLE;
  }
  return IFLA_VF_LINK_STATE_AUTO;
}

template <class T>
std::optional<T> value_of(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// Calls `use(type, content)` for each attribute that is whole.
template <class Use>
void for_each_attribute(std::span<const std::byte> bytes, Use&& use) {
  while (const auto header = value_of<rtattr>(bytes)) {
    if (header->rta_len < sizeof(rtattr) || header->rta_len > bytes.size()) return;
    use(header->rta_type & NLA_TYPE_MASK,
        bytes.subspan(sizeof(rtattr), header->rta_len - sizeof(rtattr)));
    const std::size_t step = RTA_ALIGN(header->rta_len);
    bytes = bytes.subspan(step < bytes.size() ? step : bytes.size());
  }
}

LinkFunction function_of(std::span<const std::byte> bytes) {
  LinkFunction function;
  for_each_attribute(bytes, [&function](int type, std::span<const std::byte> content) {
    if (const auto index = value_of<std::uint32_t>(content);
        index && (type == IFLA_VF_MAC || type == IFLA_VF_LINK_STATE)) {
      function.index = *index;  // each begins with it
    }
    if (const auto guid = value_of<ifla_vf_guid>(content)) {
      if (type == IFLA_VF_IB_NODE_GUID) function.node_guid = guid->guid;
      if (type == IFLA_VF_IB_PORT_GUID) function.port_guid = guid->guid;
    }
    const auto state = value_of<ifla_vf_link_state>(content);
    if (!state || type != IFLA_VF_LINK_STATE) return;
    if (state->link_state == IFLA_VF_LINK_STATE_AUTO) function.policy = Policy::follow;
    if (state->link_state == IFLA_VF_LINK_STATE_ENABLE) function.policy = Policy::up;
    if (state->link_state == IFLA_VF_LINK_STATE_DISABLE) function.policy = Policy::down;
  });
  return function;
}

void read_link(std::span<const std::byte> content, LinkAnswer& answer) {
  const auto link = value_of<ifinfomsg>(content);
  if (!link) return;
  answer.complete = true;  // of one interface there is one message
  answer.interface_index = static_cast<std::uint32_t>(link->ifi_index);
  for_each_attribute(content.subspan(sizeof(ifinfomsg)), [&answer](int type, auto list) {
    if (type != IFLA_VFINFO_LIST) return;
    for_each_attribute(list, [&answer](int inside, auto function) {
      if (inside == IFLA_VF_INFO) answer.functions.push_back(function_of(function));
    });
  });
}

}  // namespace

std::vector<std::byte> link_question(const std::string& interface, std::uint32_t sequence) {
  Message message(RTM_GETLINK, NLM_F_REQUEST, sequence, 0);
  const std::uint32_t filter = RTEXT_FILTER_VF;
  message.attribute(IFLA_EXT_MASK, &filter, sizeof filter);
  message.attribute(IFLA_IFNAME, interface.c_str(), interface.size() + 1);
  return message.take();
}

std::vector<std::vector<std::byte>> link_changes(std::uint32_t interface_index,
                                                 const LinkFunction& change,
                                                 std::uint32_t first_sequence) {
  std::vector<std::vector<std::byte>> messages;
  const auto add = [&](std::uint16_t type, const auto& value) {
    const auto sequence = first_sequence + static_cast<std::uint32_t>(messages.size());
    messages.push_back(link_change(interface_index, sequence, type, &value, sizeof value));
  };
  const auto add_guid = [&](std::uint16_t type, std::uint64_t guid) {
    ifla_vf_guid value;
    std::memset(&value, 0, sizeof value);  // also what pads it
    value.vf = change.index;
    value.guid = guid;
    add(type, value);
  };
  if (change.node_guid) add_guid(IFLA_VF_IB_NODE_GUID, *change.node_guid);
  if (change.port_guid) add_guid(IFLA_VF_IB_PORT_GUID, *change.port_guid);
  if (change.policy) {
    add(IFLA_VF_LINK_STATE,
        ifla_vf_link_state{.vf = change.index, .link_state = state_of(*change.policy)});
  }
  return messages;
}

LinkAnswer read_link_answer(std::span<const std::byte> datagram, std::uint32_t sequence) {
  LinkAnswer answer;
  while (const auto header = value_of<nlmsghdr>(datagram)) {
    if (header->nlmsg_len < sizeof(nlmsghdr) || header->nlmsg_len > datagram.size()) break;
    const auto content = datagram.subspan(sizeof(nlmsghdr), header->nlmsg_len - sizeof(nlmsghdr));
    if (header->nlmsg_seq == sequence && header->nlmsg_type == NLMSG_ERROR) {
      answer.complete = true;
      answer.error = -value_of<int>(content).value_or(0);
    } else if (header->nlmsg_seq == sequence && header->nlmsg_type == RTM_NEWLINK) {
      read_link(content, answer);
    }
    const std::size_t step = NLMSG_ALIGN(header->nlmsg_len);
    datagram = datagram.subspan(step < datagram.size() ? step : datagram.size());
  }
  return answer;
}

}  // namespace ferry::host
