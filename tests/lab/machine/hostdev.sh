# The devices of the machine in which assigned PCI functions are tried: two virtual functions of an emulated NVMe controller.
# Read by init, in the root to be.

# The emulated IOMMU remaps no interrupts.
echo 1 >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts
nvme=/sys/bus/pci/drivers/nvme
until ls $nvme | grep -q '^0000'; do usleep 100000; done
port=/sys/bus/pci/devices/$(ls $nvme | grep '^0000')
until echo 0 >"$port/sriov_drivers_autoprobe" && echo 2 >"$port/sriov_numvfs"; do sleep 1; done
for function in 0 1; do
  address=$(basename "$(readlink -f "$port/virtfn$function")")
  echo vfio-pci >"/sys/bus/pci/devices/$address/driver_override"
  echo "$address" >/sys/bus/pci/drivers_probe
  echo "$address" >>/new/functions
done
